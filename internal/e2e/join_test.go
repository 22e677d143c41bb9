package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// join is the answer to a device's join.
func join(t *testing.T, d *e2e.Device, in *mlsapi.ProcessExternalCommitInput) e2e.Answer {
	t.Helper()
	return d.Post(t, mlsapi.MethodProcessExternalCommit, in, nil)
}

// kinds runs a test in both kinds of conversations. An opaque one has the GroupInfo that somebody
// has deposited.
func kinds(t *testing.T, run func(t *testing.T, f *followed), env ...e2e.Env) {
	t.Helper()
	for _, kind := range []string{"verified", "opaque"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			f := follow(t, env...)
			if kind == "opaque" {
				f.chat = f.alice.CreateOpaque(t, f.bob, f.carol)
				require.True(t, deposit(t, f.bob, f.chat, f.chat.Tree.GroupInfo(1)))
			}
			run(t, f)
		})
	}
}

// verified reports whether the server follows the group.
func (f *followed) verified() bool { return string(*f.view(f.alice).Assurance) == "verified" }

// A device that lost its state comes back by a commit of its own that replaces its leaf, with
// nobody else's help (I14). What it had asked for is fulfilled by that, and no Welcome waits any
// more.
func TestDeviceComesBack(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, f *followed) {
		t.Helper()
		f.carol.Rejoin(t, f.chat.Chat)
		require.Len(t, f.view(f.bob).PendingRequests, 1)
		stream := f.bob.Follow(t, "")
		in, next := f.carol.Joining(t, f.chat, mlstest.Draft{})
		var out, again mlsapi.ProcessExternalCommitOutput
		f.carol.Post(t, mlsapi.MethodProcessExternalCommit, in, &out).OK(t)
		f.carol.Post(t, mlsapi.MethodProcessExternalCommit, in, &again).OK(t)
		assert.Equal(t, out, again, "a repeat without a key")
		assert.Equal(t, int64(next.Epoch), out.Epoch)
		f.chat.Move(next)
		stream.Await(t, "epoch-advanced")

		v := f.view(f.bob)
		assert.Empty(t, v.PendingRequests)
		assert.Equal(t, out.MessageID, *v.CommitID)
		assert.Equal(t, out.Epoch, v.Epoch)
		assert.Len(t, v.Members, 3)
		if f.verified() {
			f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1, f.carol: 2})
		}
		_, a := f.carol.User.Welcome(t, f.chat.Chat, f.carol.ID)
		a.Want(t, missing, "WelcomeNotFound")
		page := f.bob.Messages(t, f.chat.Chat)
		last := page.Messages[len(page.Messages)-1]
		assert.Equal(t, []any{out.MessageID, out.Seq, "commit"}, []any{last.ID, last.Seq, string(*last.MessageType)})
		// Everybody goes on from there.
		f.carol.Send(t, f.chat.Chat)
		f.carol.SendCommit(t, f.chat, mlstest.Draft{})
		f.bob.SendCommit(t, f.chat, mlstest.Draft{})
		again = mlsapi.ProcessExternalCommitOutput{}
		f.carol.Post(t, mlsapi.MethodProcessExternalCommit, in, &again).OK(t)
		assert.Equal(t, out, again, "a repeat after the epoch has ended")
		// By another user it is no repeat.
		join(t, f.bob, in).Want(t, conflict, "EpochMismatch")
	})
}

// A further device of a user joins by itself when one that is in the group vouches for it.
func TestDeviceJoinsByItself(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, f *followed) {
		t.Helper()
		laptop := f.carol.Register(t, 1)
		require.Len(t, f.view(f.bob).PendingRequests, 1)
		stream := f.bob.Follow(t, "")
		laptop.Join(t, f.chat, f.chat.Vouched(f.carol, laptop))
		stream.Await(t, "membership-changed")
		v := f.view(f.bob)
		assert.Empty(t, v.PendingRequests)
		require.Len(t, v.Members, 4)
		for _, m := range v.Members {
			if *m.DeviceID == laptop.ID && f.verified() {
				assert.Equal(t, int64(3), *m.LeafIndex)
			}
		}
		laptop.Send(t, f.chat.Chat)
		f.carol.SendCommit(t, f.chat, mlstest.Draft{})
		laptop.SendCommit(t, f.chat, mlstest.Draft{})
		// It vouches for others in turn, and comes back.
		tablet := f.carol.Register(t, 1)
		if !f.verified() {
			require.True(t, deposit(t, f.alice, f.chat, f.chat.Tree.GroupInfo(0)))
		}
		tablet.Join(t, f.chat, f.chat.Vouched(laptop, tablet))
		laptop.Join(t, f.chat, mlstest.Draft{})
		assert.Len(t, f.view(f.bob).Members, 5)
	})
}

// refusedJoin is a join that leads nowhere.
type refusedJoin struct {
	name   string
	make   func(f *followed) e2e.Answer
	status int
	error  string
	code   mls.Code
}

// joins makes a device's join, and gives it to the server in the name of a user.
func (f *followed) joins(as *e2e.User, d *e2e.Device, draft mlstest.Draft) e2e.Answer {
	f.t.Helper()
	in, _ := d.Joining(f.t, f.chat, draft)
	return as.Post(f.t, mlsapi.MethodProcessExternalCommit, in, nil)
}

var refusedJoins = []refusedJoin{
	{"a stranger", func(f *followed) e2e.Answer { return f.joins(f.dave.User, f.dave, mlstest.Draft{}) }, missing, "ConvoNotFound", 0},
	{"in the name of another member", func(f *followed) e2e.Answer { return f.joins(f.bob.User, f.carol, mlstest.Draft{}) }, bad, commitFault, mls.CodeNotTheCaller},
	{"a stranger's device under a member's token", func(f *followed) e2e.Answer {
		return f.joins(f.carol.User, f.dave, mlstest.Draft{})
	}, bad, commitFault, mls.CodeNotTheCaller},
	// A stolen token: with a key of the thief's, and with one that the thief has registered.
	{"a key that is not registered", func(f *followed) e2e.Answer {
		thief := &e2e.Device{User: f.carol.User, Client: newClient(f.carol.User)}
		return f.joins(f.carol.User, thief, mlstest.Draft{})
	}, bad, commitFault, mls.CodeNotTheCaller},
	{"a key that was just registered", func(f *followed) e2e.Answer {
		return f.joins(f.carol.User, f.laptop, mlstest.Draft{})
	}, forbidden, "ExternalJoinNotAllowed", 0},
	{"that vouches for itself", func(f *followed) e2e.Answer {
		return f.joins(f.carol.User, f.laptop, f.chat.Vouched(f.laptop, f.laptop))
	}, forbidden, "ExternalJoinNotAllowed", 0},
	{"for which another user vouches", func(f *followed) e2e.Answer {
		return f.joins(f.carol.User, f.laptop, f.chat.Vouched(f.alice, f.laptop))
	}, forbidden, "ExternalJoinNotAllowed", 0},
	{"with a vouch for another device", func(f *followed) e2e.Answer {
		return f.joins(f.carol.User, f.laptop, f.chat.Vouched(f.carol, f.dave))
	}, forbidden, "ExternalJoinNotAllowed", 0},
	{"with a vouch for another group", func(f *followed) e2e.Answer {
		d := mlstest.Draft{AuthenticatedData: f.carol.Client.Vouch([]byte("another"), f.laptop.Client.SignatureKey)}
		return f.joins(f.carol.User, f.laptop, d)
	}, forbidden, "ExternalJoinNotAllowed", 0},
}

// Who may not join is told so, and nothing of the request stays: a token alone, even with the right
// to register a device, never gets into a group.
func TestJoinsThatAreRefused(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, f *followed) {
		t.Helper()
		f.laptop = f.carol.Register(t, 1)
		before := f.picture()
		for _, r := range refusedJoins {
			a := r.make(f).Want(t, r.status, r.error)
			if r.code != 0 {
				assert.Contains(t, a.Message, r.code.String(), r.name)
			}
			assert.Equal(t, before, f.picture(), r.name)
		}
		// No other method takes a commit from outside.
		in, next := f.carol.Joining(t, f.chat, mlstest.Draft{})
		commit, err := mls.DecodeText(in.ExternalCommit)
		require.NoError(t, err)
		info := next.GroupInfo(2)
		for _, a := range []e2e.Answer{
			f.carol.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, info), nil),
			f.carol.Post(t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
				ConvoID: f.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{f.carol.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
			}, nil),
		} {
			a.Want(t, bad, commitFault)
			assert.Contains(t, a.Message, mls.CodeBadExternalCommit.String())
		}
		assert.Equal(t, before, f.picture())
		join(t, f.carol, in).OK(t)
	})
}

// A joiner removes no leaf but its own: not another user's, as an admin or not, and not another
// device's of the same user. It may commit what others have asked for themselves.
func TestJoinerRemovesItsOwnLeafOnly(t *testing.T) {
	t.Parallel()
	users := e2e.Start(t).Users(3)
	f := &followed{t: t}
	for i, d := range []**e2e.Device{&f.alice, &f.bob, &f.carol} {
		*d = &e2e.Device{User: users[i], Client: newClient(users[i])}
		(*d).Client.Proposals = []uint16{uint16(mls.ProposalSelfRemove)}
		(*d).RegisterAgain(t, 3)
	}
	f.chat = f.alice.CreateVerified(t, f.bob, f.carol)
	refused := func(d *e2e.Device, draft mlstest.Draft, status int, name string) {
		t.Helper()
		before := f.picture()
		a := f.joins(d.User, d, draft).Want(t, status, name)
		if name == commitFault {
			assert.Contains(t, a.Message, mls.CodeBadExternalCommit.String())
		}
		assert.Equal(t, before, f.picture())
	}
	for _, c := range []struct {
		phone  *e2e.Device
		leaf   uint32
		status int
		name   string
	}{{f.alice, 1, bad, commitFault}, {f.alice, 0, bad, commitFault}, {f.bob, 2, forbidden, "NotAdmin"}, {f.bob, 1, bad, commitFault}} {
		laptop := c.phone.Register(t, 1)
		d := f.chat.Vouched(c.phone, laptop)
		d.Remove = []uint32{c.leaf}
		refused(laptop, d, c.status, c.name)
	}
	removal := f.chat.Tree.ProposeRemove(0, 2)
	f.alice.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(removal.Message, nil), nil).OK(t)
	refused(f.bob, mlstest.Draft{Refs: []mlstest.Sent{removal}}, bad, commitFault)
	self := f.chat.Tree.ProposeSelfRemove(2, mls.ProposalSelfRemove)
	f.carol.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(self.Message, nil), nil).OK(t)
	f.bob.Join(t, f.chat, mlstest.Draft{Refs: []mlstest.Sent{self}})
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1})
	f.carol.Get(t, mlsapi.MethodGetEpoch, nil, "convoId", f.chat.ID).Want(t, forbidden, "NotMember")
}

// A joiner says itself whose leaf it removes, by the GroupInfo that its commit was made by, in an
// opaque conversation too; and there the others hear of each join, since nothing proves that
// GroupInfo.
func TestOpaqueJoins(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, f *followed) {
		t.Helper()
		for _, c := range []struct {
			phone  *e2e.Device
			status int
			name   string
		}{{f.bob, forbidden, "NotAdmin"}, {f.alice, bad, commitFault}} {
			laptop := c.phone.Register(t, 1)
			d := f.chat.Vouched(c.phone, laptop)
			d.Remove = []uint32{2}
			before := f.picture()
			f.joins(c.phone.User, laptop, d).Want(t, c.status, c.name)
			assert.Equal(t, before, f.picture())
		}
		stream := f.bob.Follow(t, "")
		f.carol.Join(t, f.chat, mlstest.Draft{})
		if f.verified() {
			f.alice.Send(t, f.chat.Chat)
			stream.Await(t, "message")
			assert.NotContains(t, stream.Kinds(), "device-joined-external")
			return
		}
		stream.Await(t, "device-joined-external")
	})
}

// With EXTERNAL_JOIN=open every device of a member joins, and the others are told when nobody
// vouches for it; with none nobody does, not even in its own place.
func TestPoliciesOfJoins(t *testing.T) {
	t.Parallel()
	t.Run("open", func(t *testing.T) {
		t.Parallel()
		kinds(t, func(t *testing.T, f *followed) {
			t.Helper()
			laptop := f.carol.Register(t, 1)
			stream := f.bob.Follow(t, "")
			laptop.Join(t, f.chat, mlstest.Draft{})
			stream.Await(t, "device-joined-external")
			assert.Len(t, f.view(f.bob).Members, 4)
			laptop.SendCommit(t, f.chat, mlstest.Draft{})
			f.joins(f.carol.User, &e2e.Device{User: f.carol.User, Client: newClient(f.carol.User)}, mlstest.Draft{}).Want(t, bad, commitFault)
			f.joins(f.dave.User, f.dave, mlstest.Draft{}).Want(t, missing, "ConvoNotFound")
		}, e2e.Env{"EXTERNAL_JOIN": "open"})
	})
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		kinds(t, func(t *testing.T, f *followed) {
			t.Helper()
			before := f.picture()
			f.joins(f.carol.User, f.carol, mlstest.Draft{}).Want(t, forbidden, "ExternalJoinNotAllowed")
			assert.Equal(t, before, f.picture())
		}, e2e.Env{"EXTERNAL_JOIN": "none"})
	})
	t.Run("without a GroupInfo", func(t *testing.T) {
		t.Parallel()
		// Of an opaque group without one the server knows nothing, so nobody can show whose leaf it
		// replaces.
		f := follow(t)
		f.chat = f.alice.CreateOpaque(t, f.bob, f.carol)
		f.joins(f.carol.User, f.carol, mlstest.Draft{}).Want(t, forbidden, "ExternalJoinNotAllowed")
	})
}

// A device joins five times an hour at most; others are not held up by that.
func TestJoinsAreLimited(t *testing.T) {
	t.Parallel()
	f := follow(t)
	for range 5 {
		f.carol.Join(t, f.chat, mlstest.Draft{})
	}
	a := f.joins(f.carol.User, f.carol, mlstest.Draft{}).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	if after := number(t, a, "Retry-After"); after < 3500 || after > 3600 {
		t.Errorf("Retry-After %d, want an hour", after)
	}
	f.bob.Join(t, f.chat, mlstest.Draft{})
	f.carol.SendCommit(t, f.chat, mlstest.Draft{})
	change(t, f.alice.Server, "UPDATE commits SET created_at = created_at - interval '1 hour'")
	f.carol.Join(t, f.chat, mlstest.Draft{})
}

// A device that its user has deleted does not come back into its leaf, and its word lets no other
// one in.
func TestDeletedDevicesDoNotJoin(t *testing.T) {
	t.Parallel()
	kinds(t, func(t *testing.T, f *followed) {
		t.Helper()
		laptop := f.carol.Register(t, 1)
		laptop.Join(t, f.chat, f.chat.Vouched(f.carol, laptop))
		if !f.verified() {
			require.True(t, deposit(t, f.carol, f.chat, f.chat.Tree.GroupInfo(2)))
		}
		f.carol.Delete(t, laptop, nil).OK(t)
		f.joins(f.carol.User, laptop, mlstest.Draft{}).Want(t, bad, commitFault)
		tablet := f.carol.Register(t, 1)
		f.joins(f.carol.User, tablet, f.chat.Vouched(laptop, tablet)).Want(t, forbidden, "ExternalJoinNotAllowed")
		tablet.Join(t, f.chat, f.chat.Vouched(f.carol, tablet))
		// Nor does the last one.
		f.bob.Delete(t, f.bob, nil).OK(t)
		if !f.verified() {
			require.True(t, deposit(t, f.alice, f.chat, f.chat.Tree.GroupInfo(0)))
		}
		if a := f.joins(f.bob.User, f.bob, mlstest.Draft{}); a.Status == http.StatusOK {
			t.Error("the last device of a user was deleted, and came back")
		}
	})
}
