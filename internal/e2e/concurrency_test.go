package e2e_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
)

// Of a hundred commits made in one epoch exactly one is accepted (I1, I2).
func TestOneCommitWins(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(101)
	alice := users[0]
	alice.Register(t, 1)
	for _, u := range users[1:] {
		u.Register(t, 1)
	}
	chat := alice.Create(t)
	inputs := make([]*mlsapi.AddMembersInput, 100)
	for i := range inputs {
		inputs[i] = alice.Addition(t, chat, users[i+1])
	}
	var mu sync.Mutex
	counts := map[string]int{}
	var wg sync.WaitGroup
	for _, in := range inputs {
		wg.Go(func() {
			a := alice.Post(t, mlsapi.MethodAddMembers, in, nil)
			mu.Lock()
			defer mu.Unlock()
			counts[fmt.Sprintf("%d %s", a.Status, a.Error)]++
		})
	}
	wg.Wait()
	if counts["200 "] != 1 || counts["409 EpochMismatch"] != 99 {
		t.Errorf("answers: %v", counts)
	}
	if got := alice.Epoch(t, chat); got != int64(chat.Group.Epoch)+1 {
		t.Errorf("epoch %d, want %d", got, chat.Group.Epoch+1)
	}
	var commits mlsapi.GetCommitsOutput
	alice.Get(t, mlsapi.MethodGetCommits, &commits, "convoId", chat.ID, "fromEpoch", "0").OK(t)
	if len(commits.Commits) != 1 {
		t.Errorf("%d commit rows, want 1", len(commits.Commits))
	}
}

// bothWays runs a test on a server whose calls share statements, and on one
// whose calls do not.
func bothWays(t *testing.T, test func(t *testing.T, s *e2e.Server)) {
	t.Helper()
	for _, batching := range []string{"true", "false"} {
		t.Run("ENABLE_ACTOR_SYSTEM="+batching, func(t *testing.T) {
			t.Parallel()
			test(t, e2e.Start(t, e2e.Env{"ENABLE_ACTOR_SYSTEM": batching}))
		})
	}
}

// Sixty-four senders leave a sequence without gap or repeat (I3).
func TestGaplessSequence(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, s *e2e.Server) {
		t.Helper()
		const senders, each = 64, 100
		users := s.Users(senders)
		for _, u := range users {
			u.Register(t, 1)
		}
		chat := users[0].Create(t, users[1:]...)
		var mu sync.Mutex
		seen := make(map[int64]bool, senders*each)
		var wg sync.WaitGroup
		for _, u := range users {
			wg.Go(func() {
				for range each {
					out := u.Send(t, chat)
					mu.Lock()
					seen[out.Seq] = true
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for seq := int64(1); seq <= senders*each; seq++ {
			if !seen[seq] {
				t.Fatalf("seq %d is missing", seq)
			}
		}
		if len(seen) != senders*each {
			t.Errorf("%d seqs, want %d", len(seen), senders*each)
		}
		next := int64(1)
		for since := ""; ; {
			args := []string{"limit", "100"}
			if since != "" {
				args = append(args, "sinceMessage", since)
			}
			page := users[1].Messages(t, chat, args...)
			for _, m := range page.Messages {
				if m.Seq != next {
					t.Fatalf("seq %d where %d was expected", m.Seq, next)
				}
				next++
			}
			if page.Cursor == nil {
				break
			}
			since = *page.Cursor
		}
		if next != senders*each+1 {
			t.Errorf("read up to %d", next-1)
		}
	})
}

// Two hundred claims over a hundred packages hand none out twice (I4).
func TestNoPackageTwice(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, s *e2e.Server) {
		t.Helper()
		users := s.Users(21)
		target := users[0]
		target.Register(t, 100)
		var mu sync.Mutex
		handed := map[string]int{}
		missing := 0
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				var out mlsapi.GetKeyPackagesOutput
				users[1+i%20].Get(t, mlsapi.MethodGetKeyPackages, &out, "dids", string(target.DID)).OK(t)
				mu.Lock()
				defer mu.Unlock()
				missing += len(out.Missing)
				for _, p := range out.KeyPackages {
					handed[*p.KeyPackageHash]++
				}
			})
		}
		wg.Wait()
		for ref, n := range handed {
			if n != 1 {
				t.Errorf("package %s was handed out %d times", ref, n)
			}
		}
		if len(handed) != 100 || missing != 100 {
			t.Errorf("%d packages handed out and %d claims unmet, want 100 and 100", len(handed), missing)
		}
	})
}

// Repeats of a send that race leave one message and get one answer.
func TestRacingRepeats(t *testing.T) {
	t.Parallel()
	bothWays(t, func(t *testing.T, s *e2e.Server) {
		t.Helper()
		users := s.Users(2)
		for _, u := range users {
			u.Register(t, 1)
		}
		chat := users[0].Create(t, users[1])
		in := chat.Message()
		var mu sync.Mutex
		answers := map[mls.Seq]int{}
		var wg sync.WaitGroup
		for range 40 {
			wg.Go(func() {
				var out mlsapi.SendMessageOutput
				users[0].Post(t, mlsapi.MethodSendMessage, in, &out).OK(t)
				mu.Lock()
				defer mu.Unlock()
				answers[mls.Seq(out.Seq)]++
			})
		}
		wg.Wait()
		if len(answers) != 1 || answers[1] != 40 {
			t.Errorf("seqs: %v", answers)
		}
		other := *in
		other.Ciphertext = chat.Message().Ciphertext
		users[0].Post(t, mlsapi.MethodSendMessage, &other, nil).Want(t, http.StatusConflict, "MessageIdConflict")
	})
}
