package store

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/mls"
)

// I3: 64 senders × 100 messages give seq 1..6400 without a gap, and the log
// tells of them in the same order.
func TestSendIsGapless(t *testing.T) {
	t.Parallel()
	const senders, each = 64, 100
	s := open(t, 24)
	convo := newConvo(t, s, alice, bob)
	var sent atomic.Int64
	for _, err := range race(senders, func(int) error {
		for range each {
			if _, err := s.SendMessage(t.Context(), message(convo, bob, "hello")); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	}) {
		must(t, err)
	}
	if last := one[int64](t, s, "SELECT last_seq FROM conversations"); last != senders*each {
		t.Errorf("last_seq %d, want %d", last, senders*each)
	}
	if rows := one[int64](t, s, "SELECT count(*) FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS n FROM messages) x WHERE seq = n"); rows != senders*each {
		t.Errorf("%d rows in place, want %d", rows, senders*each)
	}
	next := mls.Seq(1)
	for _, e := range readAll(t, s, LogCursor{}) {
		if e.Kind != EventMessage {
			continue
		}
		if e.Seq != next {
			t.Fatalf("the log has seq %d where %d belongs", e.Seq, next)
		}
		next++
	}
	if next != senders*each+1 {
		t.Errorf("the log ends before seq %d", next)
	}
}

type messageFunc func(convo mls.ConvoID, sender mls.DID, text string) SendParams

// eachSize runs a test for messages that take the driver's way and for such
// that are too large for it.
func eachSize(t *testing.T, test func(t *testing.T, message messageFunc)) {
	t.Helper()
	t.Run("small", func(t *testing.T) {
		t.Parallel()
		test(t, message)
	})
	t.Run("large", func(t *testing.T) {
		t.Parallel()
		test(t, func(convo mls.ConvoID, sender mls.DID, text string) SendParams {
			p := message(convo, sender, text)
			p.Ciphertext = append(p.Ciphertext, make([]byte, largeArgument)...)
			return p
		})
	})
}

func TestSendCostsOneStatement(t *testing.T) {
	t.Parallel()
	eachSize(t, func(t *testing.T, message messageFunc) {
		t.Helper()
		s := open(t, 2)
		convo := newConvo(t, s, alice)
		ctx, counter := WithCounter(t.Context())
		p := message(convo, alice, "hello")
		declared := int64(7)
		p.DeclaredSize = &declared
		_, err := s.SendMessage(ctx, p)
		must(t, err)
		if n := counter.Statements(); n != 1 {
			t.Errorf("%d statements, want 1", n)
		}
		if n := one[int64](t, s, "SELECT count(*) FROM messages WHERE ciphertext = $1 AND octet_length(ciphertext) = padded_size AND declared_size = 7", p.Ciphertext); n != 1 {
			t.Error("the bytes were not stored as they are")
		}
	})
}

func TestSendRefuses(t *testing.T) {
	t.Parallel()
	eachSize(t, func(t *testing.T, message messageFunc) {
		t.Helper()
		s := open(t, 4)
		convo := newConvo(t, s, alice, bob)
		group := one[string](t, s, "SELECT group_id FROM conversations")
		inTx(t, s, func(tx *Tx) error {
			_, err := tx.RemoveUser(t.Context(), convo, bob, LeaveSelf, noon)
			return err
		})
		send := func(change func(*SendParams)) (SendResult, error) {
			p := message(convo, alice, "hello")
			change(&p)
			return s.SendMessage(t.Context(), p)
		}
		_, err := send(func(p *SendParams) { p.Key.ConvoID = mls.NewConvoID(noon, "00") })
		wantErr(t, err, mls.ErrConvoNotFound)
		_, err = send(func(p *SendParams) { p.Sender = carol })
		wantErr(t, err, mls.ErrConvoNotFound)
		_, err = send(func(p *SendParams) { p.Sender = bob })
		wantErr(t, err, mls.ErrNotMember)
		_, err = send(func(p *SendParams) { p.Epoch = 0 })
		if mismatch := new(mls.Error); !errors.As(err, &mismatch) || mismatch.Have != 0 || mismatch.Want != 1 {
			t.Errorf("an old epoch: %v", err)
		}
		_, err = send(func(p *SendParams) { p.Epoch, p.Grace = 2, 3 })
		wantErr(t, err, mls.ErrEpochMismatch)
		result, err := send(func(p *SendParams) { p.Epoch, p.Grace = 0, 1 })
		if err != nil || result.Epoch != 0 || result.ConvoID != convo {
			t.Errorf("within the grace: %+v, %v", result, err)
		}
		result, err = send(func(p *SendParams) { p.Key = mls.ConvoKey{GroupID: mls.GroupID(group)} })
		if err != nil || result.ConvoID != convo || result.Seq != 2 {
			t.Errorf("by group id: %+v, %v", result, err)
		}
		if result.ReceivedAt != noon.Truncate(2*time.Second) {
			t.Errorf("received at %s (I8)", result.ReceivedAt)
		}
	})
}

func TestSendRepeats(t *testing.T) {
	t.Parallel()
	eachSize(t, func(t *testing.T, message messageFunc) {
		t.Helper()
		s := open(t, 4)
		convo := newConvo(t, s, alice, bob)
		first := message(convo, alice, "hello")
		one1, err := s.SendMessage(t.Context(), first)
		must(t, err)
		// Later, and in another epoch: the answer stays.
		inTx(t, s, func(tx *Tx) error { _, err := tx.AcceptCommit(t.Context(), commit(convo, 1)); return err })
		again := first
		again.At = noon.Add(time.Minute)
		two, err := s.SendMessage(t.Context(), again)
		must(t, err)
		if !two.Repeated || two.Seq != one1.Seq || two.ReceivedAt != one1.ReceivedAt || two.Epoch != one1.Epoch {
			t.Errorf("first %+v, again %+v", one1, two)
		}
		other := again
		other.Ciphertext = []byte("another")
		_, err = s.SendMessage(t.Context(), other)
		wantErr(t, err, mls.ErrMessageIDConflict)
		if n := one[int64](t, s, "SELECT count(*) FROM event_stream WHERE kind = 1"); n != 2 {
			t.Errorf("%d message events, want one each of message and commit", n)
		}
	})
}

// Twins at the same moment leave one row and one event, and get one answer.
func TestSendTwins(t *testing.T) {
	t.Parallel()
	eachSize(t, func(t *testing.T, message messageFunc) {
		t.Helper()
		s := open(t, 16)
		convo := newConvo(t, s, alice)
		for range 20 {
			p := message(convo, alice, "hello")
			results := make([]SendResult, 8)
			for _, err := range race(len(results), func(i int) (err error) {
				results[i], err = s.SendMessage(t.Context(), p)
				return err
			}) {
				must(t, err)
			}
			fresh := 0
			for _, r := range results {
				if r.Seq != results[0].Seq || r.ReceivedAt != results[0].ReceivedAt {
					t.Fatalf("answers differ: %+v, %+v", r, results[0])
				}
				if !r.Repeated {
					fresh++
				}
			}
			if fresh != 1 {
				t.Fatalf("%d of the twins were stored", fresh)
			}
		}
		if last, rows := one[int64](t, s, "SELECT last_seq FROM conversations"), one[int64](t, s, "SELECT count(*) FROM messages"); last != 20 || rows != 20 {
			t.Errorf("last_seq %d, %d rows, want 20", last, rows)
		}
		if n := one[int64](t, s, "SELECT count(*) FROM event_stream WHERE kind = 1"); n != 20 {
			t.Errorf("%d events, want 20", n)
		}
	})
}

// A send that waited for the removal of its sender is judged anew.
func TestSendDuringRemoval(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice, bob)
	waiting := make(chan error, 1)
	inTx(t, s, func(tx *Tx) error {
		if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
			return err
		}
		go func() {
			_, err := s.SendMessage(t.Context(), message(convo, bob, "one last word"))
			waiting <- err
		}()
		for one[int64](t, s, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		_, err := tx.RemoveUser(t.Context(), convo, bob, LeaveRemoved, noon)
		return err
	})
	wantErr(t, <-waiting, mls.ErrNotMember)
	if n := one[int64](t, s, "SELECT count(*) FROM messages"); n != 0 {
		t.Errorf("%d messages of a removed user", n)
	}
}

// I1, I2: of 100 commits of one epoch one is accepted.
func TestOneCommitAnEpoch(t *testing.T) {
	t.Parallel()
	s := open(t, 24)
	convo := newConvo(t, s, alice, bob)
	won := 0
	for _, err := range race(100, func(int) error {
		return s.InTx(t.Context(), func(tx *Tx) error {
			if _, err := tx.LockConvo(t.Context(), key(convo)); err != nil {
				return err
			}
			_, err := tx.AcceptCommit(t.Context(), commit(convo, 1))
			return err
		})
	}) {
		var mismatch *mls.Error
		switch {
		case err == nil:
			won++
		case !errors.As(err, &mismatch) || mismatch.Want != 2:
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 {
		t.Errorf("%d winners", won)
	}
	if rows, epoch := one[int64](t, s, "SELECT count(*) FROM commits"), one[int64](t, s, "SELECT epoch FROM conversations"); rows != 1 || epoch != 2 {
		t.Errorf("%d commit rows, epoch %d", rows, epoch)
	}
	// The index says so even if the code is wrong.
	_, err := s.pool.Exec(t.Context(), "INSERT INTO commits SELECT convo_id, epoch, seq + 1, sender_did, created_at FROM commits")
	wantErr(t, fail("insert", err, epochHasCommit), mls.ErrEpochMismatch)
}

func TestReadMessages(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	var ids []mls.MessageID
	for i := range 10 {
		p := message(convo, alice, fmt.Sprint("message ", i))
		ids = append(ids, p.ID)
		_, err := s.SendMessage(t.Context(), p)
		must(t, err)
	}
	inTx(t, s, func(tx *Tx) error {
		seq, err := tx.AcceptCommit(t.Context(), commit(convo, 1))
		if err != nil {
			return err
		}
		return tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, MLSDID: string(bob)}}, Place{Epoch: 2, Seq: seq, At: noon})
	})
	late := message(convo, alice, "late")
	late.Epoch = 2
	_, err := s.SendMessage(t.Context(), late)
	must(t, err)

	ctx, counter := WithCounter(t.Context())
	page, err := s.ReadMessages(ctx, ReadParams{Key: key(convo), Reader: alice, Limit: 4})
	must(t, err)
	if n := counter.Statements(); n != 2 {
		t.Errorf("%d statements, want 2", n)
	}
	if len(page.Messages) != 4 || !page.More || page.LastSeq() != 4 || page.Messages[0].Seq != 1 || page.Messages[3].Seq != 4 {
		t.Errorf("first page: %d messages, more %t, last %d", len(page.Messages), page.More, page.LastSeq())
	}
	page, err = s.ReadMessages(t.Context(), ReadParams{Key: key(convo), Reader: alice, Limit: 100, After: ids[3]})
	must(t, err)
	if len(page.Messages) != 8 || page.More || page.Messages[0].ID != ids[4] || page.Messages[6].Kind != KindCommit {
		t.Errorf("after an id: %d messages, more %t", len(page.Messages), page.More)
	}
	page, err = s.ReadMessages(t.Context(), ReadParams{Key: key(convo), Reader: alice, Limit: 100, MaxBytes: 1025})
	must(t, err)
	if len(page.Messages) != 2 || !page.More {
		t.Errorf("within 1025 bytes: %d messages of 512, more %t", len(page.Messages), page.More)
	}
	page, err = s.ReadMessages(t.Context(), ReadParams{Key: key(convo), Reader: alice, Limit: 100, MaxBytes: 1})
	must(t, err)
	if len(page.Messages) != 1 || !page.More {
		t.Errorf("within 1 byte: %d messages, more %t; the first one always fits", len(page.Messages), page.More)
	}
	page, err = s.ReadMessages(t.Context(), ReadParams{Key: key(convo), Reader: bob, Limit: 100, After: ids[0]})
	must(t, err)
	if len(page.Messages) != 1 || page.Messages[0].Seq != 12 {
		t.Errorf("a late joiner sees %d messages", len(page.Messages))
	}
	other := newConvo(t, s, alice)
	for name, p := range map[string]ReadParams{
		"unknown id":   {After: mls.NewMessageID(noon)},
		"other convo":  {AfterConvo: other, AfterSeq: 1},
		"ahead of log": {AfterConvo: convo, AfterSeq: 13},
		"negative":     {AfterConvo: convo, AfterSeq: -1},
	} {
		p.Key, p.Reader, p.Limit = key(convo), alice, 10
		if _, err := s.ReadMessages(t.Context(), p); !errors.Is(err, mls.ErrInvalidCursor) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = s.ReadMessages(t.Context(), ReadParams{Key: key(convo), Reader: carol, Limit: 1})
	wantErr(t, err, mls.ErrConvoNotFound)
}

func TestListCommits(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	for epoch := mls.Epoch(1); epoch <= 5; epoch++ {
		inTx(t, s, func(tx *Tx) error {
			seq, err := tx.AcceptCommit(t.Context(), commit(convo, epoch))
			if err != nil || epoch != 3 {
				return err
			}
			return tx.UpsertMembers(t.Context(), convo, []NewMember{{User: bob, MLSDID: string(bob)}}, Place{Epoch: 4, Seq: seq, At: noon})
		})
	}
	page, err := s.ListCommits(t.Context(), key(convo), alice, CommitRange{From: 2, Limit: 2})
	must(t, err)
	if len(page.Commits) != 2 || page.Commits[0].Epoch != 2 || page.Next == nil || *page.Next != 4 {
		t.Errorf("a page of two: %d commits, next %v", len(page.Commits), page.Next)
	}
	page, err = s.ListCommits(t.Context(), key(convo), bob, CommitRange{From: 1, Limit: 500})
	must(t, err)
	if len(page.Commits) != 2 || page.Commits[0].Epoch != 4 || page.Next != nil {
		t.Errorf("from the join on: %d commits, next %v", len(page.Commits), page.Next)
	}
	current := mls.Epoch(7)
	_, err = s.ListCommits(t.Context(), key(convo), alice, CommitRange{From: 1, To: &current, Limit: 500})
	wantErr(t, err, mls.ErrInvalidEpochRange)
}

func TestCursorsOnlyMoveForward(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	for range 5 {
		_, err := s.SendMessage(t.Context(), message(convo, alice, "hello"))
		must(t, err)
	}
	set := func(seq mls.Seq) error {
		return s.InTx(t.Context(), func(tx *Tx) error {
			standing, err := tx.RequireMember(t.Context(), key(convo), alice)
			if err != nil {
				return err
			}
			return tx.SetCursor(t.Context(), standing, alice, seq)
		})
	}
	must(t, set(4))
	must(t, set(2))
	wantErr(t, set(6), mls.ErrInvalidCursor)
	if seq := one[int64](t, s, "SELECT seq FROM cursors"); seq != 4 {
		t.Errorf("cursor %d, want 4", seq)
	}
}
