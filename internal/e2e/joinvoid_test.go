package e2e_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
)

// company is a conversation of n users around a true group; the first one is its admin.
func company(t *testing.T, s *e2e.Server, n int, verified bool) ([]*e2e.Device, *e2e.VerifiedChat) {
	t.Helper()
	users := s.Users(n)
	devices := make([]*e2e.Device, n)
	for i, u := range users {
		devices[i] = u.Register(t, 6)
	}
	if verified {
		return devices, devices[0].CreateVerified(t, devices[1:]...)
	}
	chat := devices[0].CreateOpaque(t, devices[1:]...)
	require.True(t, deposit(t, devices[0], chat, chat.Tree.GroupInfo(0)))
	return devices, chat
}

// report has devices report the chat's newest commit, and checks that the last of them takes it
// back.
func report(t *testing.T, chat *e2e.VerifiedChat, devices ...*e2e.Device) {
	t.Helper()
	for i, d := range devices {
		if reports(t, d, chat.Chat, chat.Tree.Epoch, "") != (i == len(devices)-1) {
			t.Fatalf("report %d of %d", i+1, len(devices))
		}
	}
}

// A false GroupInfo, whose external_pub nobody can check, leads a joiner astray: the others cannot
// follow. They take its commit back, the GroupInfo is handed out no more, and who deposited it has
// to wait, not the joiner, who comes back by what another one deposits (I14).
func TestFalseGroupInfo(t *testing.T) {
	t.Parallel()
	for _, verified := range []bool{true, false} {
		t.Run(map[bool]string{true: "verified", false: "opaque"}[verified], func(t *testing.T) {
			t.Parallel()
			u, chat := company(t, e2e.Start(t), 5, verified)
			alice, mallory, carol, dave, erin := u[0], u[1], u[2], u[3], u[4]
			require.True(t, deposit(t, mallory, chat, chat.Tree.GroupInfo(1)))
			carol.Rejoin(t, chat.Chat)
			before := *dave.Convo(t, chat.Chat)
			in, _ := carol.Joining(t, chat, mlstest.Draft{})
			in.IdempotencyKey = e2e.Key()
			join(t, carol, in).OK(t)
			report(t, chat, alice, dave, erin)

			after := *dave.Convo(t, chat.Chat)
			assert.Equal(t, before.Members, after.Members)
			assert.Equal(t, before.PendingRequests, after.PendingRequests, "what the join had fulfilled is asked for again")
			assert.Equal(t, before.Epoch, after.Epoch)
			join(t, carol, in).Want(t, conflict, "CommitVoid")
			in.IdempotencyKey = nil
			join(t, carol, in).Want(t, conflict, "CommitVoid")

			handed(t, carol, chat, nil)
			assert.False(t, deposit(t, mallory, chat, chat.Tree.GroupInfo(1)), "who deposited the false one")
			handed(t, carol, chat, nil)
			right := chat.Tree.GroupInfo(3)
			assert.True(t, deposit(t, dave, chat, right))
			handed(t, carol, chat, right)
			carol.Join(t, chat, mlstest.Draft{})
			carol.SendCommit(t, chat, mlstest.Draft{})
			commit, info, _ := chat.Commit(t, mallory, mlstest.Draft{})
			a := mallory.Post(t, mlsapi.MethodSendMessage, chat.Handshake(commit, info), nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
			if after := number(t, a, "Retry-After"); after < 500 || after > 600 {
				t.Errorf("Retry-After %d, want ten minutes", after)
			}
			checkInvariants(t, alice.Server)
		})
	}
}

// The GroupInfo that came with a commit is not replaced by its committer once a join by it was
// taken back.
func TestFalseGroupInfoOfCommitter(t *testing.T) {
	t.Parallel()
	u, chat := company(t, e2e.Start(t), 5, true)
	alice, mallory, carol, dave, erin := u[0], u[1], u[2], u[3], u[4]
	mallory.SendCommit(t, chat, mlstest.Draft{})
	in, _ := carol.Joining(t, chat, mlstest.Draft{})
	join(t, carol, in).OK(t)
	report(t, chat, alice, dave, erin)
	assert.False(t, deposit(t, mallory, chat, chat.Tree.GroupInfo(1)))
	handed(t, carol, chat, nil)
	assert.True(t, deposit(t, dave, chat, chat.Tree.GroupInfo(3)))
	carol.Join(t, chat, mlstest.Draft{})
}

// A joiner that lies harms whoever deposited the GroupInfo once a day at most: its next commit that
// is taken back counts against itself. And an admin removes it without waiting.
func TestFalseJoins(t *testing.T) {
	t.Parallel()
	u, chat := company(t, e2e.Start(t), 5, true)
	alice, bob, mallory, dave, erin := u[0], u[1], u[2], u[3], u[4]
	waits := func(d *e2e.Device, want bool) {
		t.Helper()
		commit, info, next := chat.Commit(t, d, mlstest.Draft{})
		a := d.Post(t, mlsapi.MethodSendMessage, chat.Handshake(commit, info), nil)
		if got := a.Error == "RateLimitExceeded"; got != want {
			t.Errorf("waits: %v, want %v (%d %s)", got, want, a.Status, a.Error)
		}
		if a.Status == http.StatusOK {
			chat.Move(next)
		}
	}
	for i := range 2 {
		in, _ := mallory.Joining(t, chat, mlstest.Draft{})
		join(t, mallory, in).OK(t)
		report(t, chat, alice, dave, erin)
		require.True(t, deposit(t, []*e2e.Device{bob, dave}[i], chat, chat.Tree.GroupInfo([]uint32{1, 3}[i])))
	}
	waits(alice, true)
	waits(bob, false)
	waits(dave, false)
	in, _ := mallory.Joining(t, chat, mlstest.Draft{})
	join(t, mallory, in).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	waits(mallory, true)
	commit, info, _ := chat.Commit(t, alice, mlstest.Draft{Remove: []uint32{2}})
	alice.Post(t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{
		ConvoID: chat.ID, TargetDID: mallory.DID, IdempotencyKey: *e2e.Key(), Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
	}, nil).OK(t)
	checkInvariants(t, alice.Server)
}

// A new device whose join is taken back is off the roster, and asked for again; it may join once
// more.
func TestVoidJoinOfNewDevice(t *testing.T) {
	t.Parallel()
	u, chat := company(t, e2e.Start(t), 4, true)
	laptop := u[1].Register(t, 2)
	in, next := laptop.Joining(t, chat, chat.Vouched(u[1], laptop))
	join(t, laptop, in).OK(t)
	lost := *chat
	lost.Move(next)
	lost.Tree = next
	laptop.Send(t, lost.Chat)
	report(t, chat, u[0], u[2])
	v := u[0].Convo(t, chat.Chat)
	require.Len(t, v.Members, 4)
	require.Len(t, v.PendingRequests, 1)
	assert.Equal(t, laptop.ID, *v.PendingRequests[0].DeviceID)
	require.True(t, deposit(t, u[2], chat, chat.Tree.GroupInfo(2)))
	laptop.Join(t, chat, chat.Vouched(u[1], laptop))
	assert.Len(t, u[0].Convo(t, chat.Chat).Members, 5)
	checkInvariants(t, u[0].Server)
}

// TestJoinRaces: two devices join at the same time while a member commits, through two servers. One
// commit wins each epoch; who lost is told the epoch and makes another one (I1, I2).
func TestJoinRaces(t *testing.T) {
	t.Parallel()
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	servers := []*e2e.Server{e2e.StartOn(t, db, dir), e2e.StartOn(t, db, dir)}
	u, chat := company(t, servers[0], 4, true)
	laptop := u[1].Register(t, 2)
	for round := range 4 {
		type attempt struct {
			in   e2e.Request
			m    int
			next *mlstest.VerifiedGroup
		}
		var attempts []attempt
		draft := mlstest.Draft{}
		if round == 0 {
			draft = chat.Vouched(u[1], laptop)
		}
		for _, d := range []*e2e.Device{laptop, u[2]} {
			if d != laptop {
				draft = mlstest.Draft{}
			}
			in, next := d.Joining(t, chat, draft)
			attempts = append(attempts, attempt{post(in), len(attempts), next})
		}
		commit, info, next := chat.Commit(t, u[3], mlstest.Draft{})
		attempts = append(attempts, attempt{post(chat.Handshake(commit, info)), 2, next})
		answers := make([]e2e.Answer, len(attempts))
		var wg sync.WaitGroup
		for i, who := range []*e2e.Device{laptop, u[2], u[3]} {
			wg.Go(func() {
				method := mlsapi.MethodProcessExternalCommit
				if i == 2 {
					method = mlsapi.MethodSendMessage
				}
				at := &e2e.User{Identity: who.Identity, Server: servers[(i+round)%2]}
				var err error
				if answers[i], err = at.Try(t.Context(), method, attempts[i].in); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		won := 0
		for i, a := range answers {
			switch {
			case a.Status == http.StatusOK:
				won++
				chat.Move(attempts[i].next)
			case a.Error != "EpochMismatch" || !strings.Contains(a.Message, "retry after"):
				t.Errorf("%d: %d %s %s", i, a.Status, a.Error, a.Message)
			}
		}
		if won != 1 {
			t.Fatalf("%d commits of an epoch were accepted", won)
		}
		if round == 0 && !memberOf(chat, laptop) {
			laptop.Join(t, chat, chat.Vouched(u[1], laptop))
		}
	}
	checkInvariants(t, servers[0])
}

func memberOf(chat *e2e.VerifiedChat, d *e2e.Device) bool {
	for _, c := range chat.Tree.Members {
		if c == d.Client {
			return true
		}
	}
	return false
}

// TestJoinIsOneTransaction: the connection is lost at each table that a join writes to. Either all
// of it has happened or nothing, and the same request, sent again, does it (I2, I14).
func TestJoinIsOneTransaction(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := company(t, s, 3, true)
	u[1].Rejoin(t, chat.Chat) // the join fulfils it
	in, next := u[1].Joining(t, chat, mlstest.Draft{})
	in.IdempotencyKey = e2e.Key()
	lostAtEachTable(t, s, func() e2e.Answer { return join(t, u[1], in) },
		"conversations", "messages", "commits", "event_stream", "group_states", "members", "commit_additions", "pending_welcomes", "welcome_routes",
		"commit_reports", "removal_debts", "idempotency_keys", "invitations", "send_keys")
	chat.Move(next)
	u[1].SendCommit(t, chat, mlstest.Draft{})
	checkInvariants(t, s)
}

// refuseJoins produces what a join is refused with.
func refuseJoins(t *testing.T) {
	t.Helper()
	f := follow(t)
	laptop := f.carol.Register(t, 1)
	f.joins(f.carol.User, laptop, mlstest.Draft{}).Want(t, forbidden, "ExternalJoinNotAllowed")
	in, _ := f.carol.Joining(t, f.chat, mlstest.Draft{})
	in.GroupInfo = nil
	join(t, f.carol, in).Want(t, bad, infoFault)
	in.ExternalCommit = "no commit"
	join(t, f.carol, in).Want(t, bad, commitFault)
	f.joins(f.carol.User, laptop, mlstest.Draft{Remove: []uint32{1}}).Want(t, forbidden, "NotAdmin")
	early, _ := f.carol.Joining(t, f.chat, mlstest.Draft{})
	f.bob.SendCommit(t, f.chat, mlstest.Draft{})
	join(t, f.carol, early).Want(t, conflict, "EpochMismatch")
	in, _ = f.carol.Joining(t, f.chat, mlstest.Draft{})
	join(t, f.carol, in).OK(t)
	report(t, f.chat, f.alice, f.bob)
	join(t, f.carol, in).Want(t, conflict, "CommitVoid")
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Others: []mlstest.Proposal{mlstest.ReInit()}, NoPath: true})
	f.joins(f.carol.User, f.carol, mlstest.Draft{}).Want(t, conflict, "GroupReinitialized")
}
