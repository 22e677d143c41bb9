package e2e_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// lie is a request that says one thing while its commit does another; each used to be believed.
type lie struct {
	name   string
	tell   func(f *followed) e2e.Answer
	status int
	error  string
	code   mls.Code
}

// addition is a request of bob's to add dave, with a commit that does something else.
func (f *followed) addition(d mlstest.Draft, welcomed mlstest.Addition) e2e.Answer {
	commit, info, next := f.chat.Commit(f.t, f.bob, d)
	return f.bob.Post(f.t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
		ConvoID: f.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{f.dave.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
		WelcomeMessage: e2e.Text(next.Welcome(welcomed.Package.Ref)),
	}, nil)
}

// removal is a request of alice's to remove carol, with a commit that does something else.
func (f *followed) removal(d mlstest.Draft) e2e.Answer {
	commit, info, _ := f.chat.Commit(f.t, f.alice, d)
	return f.alice.Post(f.t, mlsapi.MethodRemoveMember, &mlsapi.RemoveMemberInput{
		ConvoID: f.chat.ID, IdempotencyKey: *e2e.Key(), TargetDID: f.carol.DID, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
	}, nil)
}

// joining is an external commit that bob passes on for somebody.
func (f *followed) joining(joiner *mlstest.Client) e2e.Answer {
	commit, next := f.chat.Tree.Commit(0, joiner, mlstest.Draft{External: true})
	return f.bob.Post(f.t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, next.GroupInfo(3)), nil)
}

var lies = []lie{
	{"dave is named, erin is added", func(f *followed) e2e.Answer {
		erin := f.alice.Server.Users(1)[0].Register(f.t, 1)
		added := f.bob.Additions(f.t, erin)
		return f.addition(mlstest.Draft{Add: added}, f.bob.Additions(f.t, f.dave)[0])
	}, bad, "WelcomeMismatch", 0},
	{"erin is added and welcomed under dave's name", func(f *followed) e2e.Answer {
		erin := f.alice.Server.Users(1)[0].Register(f.t, 1)
		added := f.bob.Additions(f.t, erin)
		return f.addition(mlstest.Draft{Add: added}, added[0])
	}, conflict, "KeyPackageNotFound", 0},
	{"a package that nobody published", func(f *followed) e2e.Answer {
		own := newClient(f.dave.User)
		added := mlstest.Addition{Client: own, Package: own.KeyPackage(time.Now())}
		return f.addition(mlstest.Draft{Add: []mlstest.Addition{added}}, added)
	}, conflict, "KeyPackageNotFound", 0},
	{"an addition that adds nobody", func(f *followed) e2e.Answer {
		return f.addition(mlstest.Draft{}, f.bob.Additions(f.t, f.dave)[0])
	}, bad, commitFault, mls.CodeRosterMismatch},
	{"a removal that removes nobody", func(f *followed) e2e.Answer { return f.removal(mlstest.Draft{}) }, bad, commitFault, mls.CodeRosterMismatch},
	{"a removal of somebody else", func(f *followed) e2e.Answer {
		return f.removal(mlstest.Draft{Remove: []uint32{1}})
	}, bad, commitFault, mls.CodeRosterMismatch},
	{"a removal that adds", func(f *followed) e2e.Answer {
		return f.removal(mlstest.Draft{Remove: []uint32{2}, Add: f.alice.Additions(f.t, f.dave)})
	}, bad, commitFault, mls.CodeRosterMismatch},
	{"two leaves of one device", func(f *followed) e2e.Answer {
		// Devices that are not registered are one to the server.
		erin := f.alice.Server.Users(1)[0]
		var added []mlstest.Addition
		for range 2 {
			c := newClient(erin)
			k := c.KeyPackage(time.Now())
			erin.Post(f.t, mlsapi.MethodPublishKeyPackage, &mlsapi.PublishKeyPackageInput{
				IdempotencyKey: e2e.Key(), KeyPackage: k.Text(), CipherSuite: mlsapi.PublishKeyPackageInputCipherSuite(f.chat.Tree.Suite.String()),
			}, nil).OK(f.t)
			added = append(added, mlstest.Addition{Client: c, Package: k})
		}
		commit, info, next := f.chat.Commit(f.t, f.bob, mlstest.Draft{Add: added})
		return f.bob.Post(f.t, mlsapi.MethodAddMembers, &mlsapi.AddMembersInput{
			ConvoID: f.chat.ID, IdempotencyKey: e2e.Key(), DIDList: []mls.DID{erin.DID}, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
			WelcomeMessage: e2e.Text(next.Welcome(added[0].Package.Ref, added[1].Package.Ref)),
		}, nil)
	}, bad, commitFault, mls.CodeRosterMismatch},
	{"a stranger's external commit", func(f *followed) e2e.Answer { return f.joining(f.dave.Client) }, bad, commitFault, mls.CodeBadExternalCommit},
	{"an external commit under alice's name", func(f *followed) e2e.Answer {
		return f.joining(mlstest.NewClient(f.alice.DID, "", f.chat.Tree.Suite))
	}, bad, commitFault, mls.CodeBadExternalCommit},
	{"a leaver who proposes to remove another", func(f *followed) e2e.Answer {
		return f.carol.Leave(f.t, f.chat.Chat, f.chat.Tree.ProposeRemove(2, 1).Message)
	}, forbidden, "NotAdmin", 0},
	{"a leaver who proposes something else", func(f *followed) e2e.Answer {
		return f.carol.Leave(f.t, f.chat.Chat, f.chat.Tree.ProposeUpdate(2).Message)
	}, bad, commitFault, mls.CodeForbiddenProposal},
	{"a leaver's garbage", func(f *followed) e2e.Answer {
		return f.carol.Leave(f.t, f.chat.Chat, f.chat.Tree.PrivateProposal())
	}, bad, commitFault, mls.CodePublicMessageRequired},
}

// What a request says and what its commit does are one, or nothing of it stays (I13).
func TestNoLiesInVerifiedConversation(t *testing.T) {
	t.Parallel()
	f := follow(t)
	before := f.picture()
	for _, l := range lies {
		a := l.tell(f)
		a.Want(t, l.status, l.error)
		if l.code != 0 {
			assert.Contains(t, a.Message, l.code.String(), l.name)
		}
		assert.Equal(t, before, f.picture(), l.name)
	}
	// A debt is settled when its leaf is gone, and never before; a member that is no admin may
	// settle it.
	f.carol.Leave(t, f.chat.Chat, nil).OK(t)
	debt := f.view(f.bob).PendingRequests
	settle := func(d mlstest.Draft) e2e.Answer {
		commit, info, next := f.chat.Commit(t, f.bob, d)
		a := f.bob.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{
			ConvoID: f.chat.ID, TargetDID: &f.carol.DID, Commit: e2e.Text(commit), GroupInfo: e2e.Text(info),
		}, nil)
		if a.Status == 200 {
			f.chat.Move(next)
		}
		return a
	}
	settle(mlstest.Draft{}).Want(t, bad, commitFault)
	assert.Equal(t, debt, f.view(f.bob).PendingRequests)
	settle(mlstest.Draft{Remove: []uint32{2}}).OK(t)
	assert.Empty(t, f.view(f.bob).PendingRequests)
	f.roster(map[*e2e.Device]int64{f.alice: 0, f.bob: 1})
}
