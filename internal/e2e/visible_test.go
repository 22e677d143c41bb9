package e2e_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// threesome is a conversation whose messages can be read: alice, its admin, at leaf 0, bob at 1,
// carol at 2.
type threesome struct {
	t                 *testing.T
	alice, bob, carol *e2e.Device
	chat              *e2e.Chat
}

func readable(t *testing.T) *threesome {
	t.Helper()
	s := e2e.Start(t)
	users := s.Users(3)
	r := &threesome{t: t, alice: users[0].Register(t, 4), bob: users[1].Register(t, 4), carol: users[2].Register(t, 4)}
	r.chat = r.alice.Create(t, r.bob.User, r.carol.User)
	return r
}

// commit makes a readable commit of a member.
func (r *threesome) commit(from *e2e.Device, leaf uint32, proposals ...mlstest.Proposal) []byte {
	return r.chat.Group.Commit(mlstest.Commit{From: from.Client, Leaf: leaf, Proposals: proposals})
}

// refused checks that an answer names a rule, and that nothing of its request stays.
func (r *threesome) refused(a e2e.Answer, code mls.Code) {
	r.t.Helper()
	a.Want(r.t, http.StatusBadRequest, "InvalidCommit")
	assert.Contains(r.t, a.Message, code.String())
	r.unchanged()
}

func (r *threesome) unchanged() {
	r.t.Helper()
	assert.Equal(r.t, int64(r.chat.Group.Epoch), r.alice.Epoch(r.t, r.chat))
	v := r.alice.Convo(r.t, r.chat)
	require.NotNil(r.t, v)
	assert.Len(r.t, v.Members, 3)
	assert.Empty(r.t, v.PendingRequests)
}

func refuseReadable(t *testing.T) {
	t.Helper()
	r := readable(t)
	dave := r.alice.Server.Users(1)[0].Register(t, 2)
	add := r.bob.Addition(t, r.chat, dave.User)
	add.Commit = new(mls.EncodeText(r.commit(r.bob, 1, mlstest.Remove(0))))
	r.bob.Post(t, mlsapi.MethodAddMembers, add, nil).Want(t, forbidden, "NotAdmin")
	r.bob.SendBytes(t, r.chat, r.commit(r.bob, 1, mlstest.Remove(0))).Want(t, forbidden, "NotAdmin")
	none := r.bob.Addition(t, r.chat, dave.User)
	none.WelcomeMessage = nil
	r.bob.Post(t, mlsapi.MethodAddMembers, none, nil).Want(t, bad, "WelcomeMismatch")
	create := creation(e2e.Key())
	create.InitialMembers = []mls.DID{r.bob.DID, dave.DID}
	create.WelcomeMessage = add.WelcomeMessage
	r.alice.Post(t, mlsapi.MethodCreateConvo, create, nil).Want(t, bad, "WelcomeMismatch")
}

// What can be read of a commit must be what the request says (I13).
func TestReadableCommits(t *testing.T) {
	t.Parallel()
	t.Run("a plain member removes another", func(t *testing.T) {
		t.Parallel()
		r := readable(t)
		r.bob.SendBytes(t, r.chat, r.commit(r.bob, 1, mlstest.Remove(0))).Want(t, http.StatusForbidden, "NotAdmin")
		r.bob.SendBytes(t, r.chat, r.chat.Group.Propose(r.bob.Client, 1, mlstest.Remove(2))).Want(t, http.StatusForbidden, "NotAdmin")
		r.unchanged()
		r.alice.SendBytes(t, r.chat, r.commit(r.alice, 0, mlstest.Remove(2))).OK(t)
	})
	t.Run("a removal that removes nobody", func(t *testing.T) {
		t.Parallel()
		r := readable(t)
		r.refused(r.alice.Remove(t, r.chat, r.bob.User, r.commit(r.alice, 0)), mls.CodeRosterMismatch)
		r.alice.Remove(t, r.chat, r.bob.User, r.commit(r.alice, 0, mlstest.Remove(1))).OK(t)
	})
	t.Run("a debt settled by a lie", func(t *testing.T) {
		t.Parallel()
		r := readable(t)
		r.carol.Leave(t, r.chat, nil).OK(t)
		lie := r.commit(r.bob, 1)
		a := r.bob.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: r.chat.ID, TargetDID: &r.carol.DID, Commit: new(mls.EncodeText(lie))}, nil)
		a.Want(t, http.StatusBadRequest, "InvalidCommit")
		assert.Len(t, r.alice.Pending(t, r.chat), 1)
		truth := r.commit(r.bob, 1, mlstest.Remove(2))
		r.bob.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: r.chat.ID, TargetDID: &r.carol.DID, Commit: new(mls.EncodeText(truth))}, nil).OK(t)
		assert.Empty(t, r.alice.Pending(t, r.chat))
	})
	t.Run("a leaver who proposes to remove another", func(t *testing.T) {
		t.Parallel()
		r := readable(t)
		r.carol.Leave(t, r.chat, r.chat.Group.Propose(r.carol.Client, 2, mlstest.Remove(1))).Want(t, http.StatusForbidden, "NotAdmin")
		r.refused(r.carol.Leave(t, r.chat, r.chat.Group.Propose(r.carol.Client, 2, mlstest.PSK("id", "nonce"))), mls.CodeForbiddenProposal)
		r.carol.Leave(t, r.chat, r.chat.Group.Propose(r.carol.Client, 2, mlstest.Remove(2))).OK(t)
	})
	t.Run("proposals of unknown types settle nothing", func(t *testing.T) {
		t.Parallel()
		unknown := mlstest.Custom(0x7a7b, []byte{1})
		r := readable(t)
		r.carol.Leave(t, r.chat, r.chat.Group.Propose(r.carol.Client, 2, unknown)).OK(t)
		r.bob.SendBytes(t, r.chat, r.chat.Group.PrivateCommit()).OK(t)
		assert.Len(t, r.alice.Pending(t, r.chat), 1, "it may be no proposal to leave")
		r = readable(t)
		r.carol.Leave(t, r.chat, r.chat.Group.PrivateProposal()).OK(t)
		r.bob.SendBytes(t, r.chat, r.commit(r.bob, 1, unknown)).OK(t)
		assert.Len(t, r.alice.Pending(t, r.chat), 1, "it may be no commit of the leaver's removal")
	})
	t.Run("somebody else's leaf", func(t *testing.T) {
		t.Parallel()
		r := readable(t)
		r.refused(r.bob.SendBytes(t, r.chat, r.commit(r.carol, 2)), mls.CodeNotTheCaller)
		r.refused(r.bob.SendBytes(t, r.chat, r.chat.Group.Propose(r.alice.Client, 0, mlstest.Update())), mls.CodeNotTheCaller)
		join := r.chat.Group.Commit(mlstest.Commit{From: r.alice.Client, Leaf: 3, External: true, Proposals: []mlstest.Proposal{mlstest.ExternalInit()}})
		r.refused(r.bob.SendBytes(t, r.chat, join), mls.CodeBadExternalCommit)
		r.refused(r.alice.SendBytes(t, r.chat, join), mls.CodeBadExternalCommit)
		r.bob.SendBytes(t, r.chat, r.commit(r.bob, 1)).OK(t)
	})
	t.Run("an addition that adds nobody", func(t *testing.T) {
		t.Parallel()
		r := readable(t)
		dave := r.alice.Server.Users(1)[0].Register(t, 2)
		in := r.bob.Addition(t, r.chat, dave.User)
		in.Commit = new(mls.EncodeText(r.commit(r.bob, 1)))
		r.refused(r.bob.Post(t, mlsapi.MethodAddMembers, in, nil), mls.CodeRosterMismatch)
	})
	t.Run("an addition that is sent like a message", func(t *testing.T) {
		t.Parallel()
		r := readable(t)
		dave := mlstest.NewClient(r.alice.Server.Users(1)[0].DID, "", r.chat.Group.Suite)
		add := r.commit(r.bob, 1, mlstest.Add(dave.KeyPackage(time.Now())))
		r.refused(r.bob.SendBytes(t, r.chat, add), mls.CodeRosterMismatch)
		r.refused(r.alice.Remove(t, r.chat, r.bob.User, r.commit(r.alice, 0, mlstest.Remove(1), mlstest.Add(dave.KeyPackage(time.Now())))), mls.CodeRosterMismatch)
	})
}

// TestProposalsByReference: a commit refers to what was sent before and to nothing else, and it is
// judged by what it refers to (I13).
func TestProposalsByReference(t *testing.T) {
	t.Parallel()
	r := readable(t)
	leave := r.chat.Group.Propose(r.carol.Client, 2, mlstest.Remove(2))
	ref := refOf(t, leave, r.chat.Group.Suite)
	byRef := func(noPath bool) []byte {
		return r.chat.Group.Commit(mlstest.Commit{From: r.bob.Client, Leaf: 1, Refs: []mls.ProposalRef{ref}, NoPath: noPath})
	}
	r.refused(r.bob.SendBytes(t, r.chat, byRef(false)), mls.CodeUnknownProposalRef)
	r.carol.Leave(t, r.chat, leave).OK(t)
	// Without a path the leaver could read on (RFC 9420 12.4); a released library commits like
	// that.
	a := r.bob.SendBytes(t, r.chat, byRef(true))
	a.Want(t, http.StatusBadRequest, "InvalidCommit")
	assert.Contains(t, a.Message, mls.CodeMissingUpdatePath.String())
	r.bob.SendBytes(t, r.chat, byRef(false)).OK(t)
	r.chat.Next()
	// The next epoch knows no proposal of the one before.
	r.bob.SendBytes(t, r.chat, byRef(false)).Want(t, http.StatusBadRequest, "InvalidCommit")
	// An encrypted proposal may be what is referred to.
	r.alice.SendBytes(t, r.chat, r.chat.Group.PrivateProposal()).OK(t)
	r.bob.SendBytes(t, r.chat, byRef(false)).OK(t)
}

func refOf(t *testing.T, proposal []byte, suite mls.CipherSuite) mls.ProposalRef {
	t.Helper()
	m, err := mls.ParseMessage(proposal)
	require.NoError(t, err)
	return m.Public.ProposalRef(suite)
}

// TestWelcomeDecidesWhoIsAdded: a user or a package that is named, and not welcomed, is refused
// with the whole request (RFC 9420 12.4.3.1) (I13).
func TestWelcomeDecidesWhoIsAdded(t *testing.T) {
	t.Parallel()
	r := readable(t)
	users := r.alice.Server.Users(2)
	dave, erin := users[0].Register(t, 4), users[1].Register(t, 4)
	both := r.alice.Addition(t, r.chat, dave.User, erin.User)
	one := r.alice.Addition(t, r.chat, dave.User)
	short := *both
	short.WelcomeMessage = one.WelcomeMessage
	mismatch := func(in *mlsapi.AddMembersInput) {
		t.Helper()
		in.IdempotencyKey = e2e.Key()
		r.alice.Post(t, mlsapi.MethodAddMembers, in, nil).Want(t, http.StatusBadRequest, "WelcomeMismatch")
		r.unchanged()
	}
	mismatch(&short)
	none := *one
	none.WelcomeMessage = nil
	mismatch(&none)
	named := *one
	claimed := r.alice.Claim(t, dave.DID)
	named.KeyPackageHashes = []mlsapi.AddMembersKeyPackageHashEntry{{DID: dave.DID, Hash: *claimed[0].KeyPackageHash}}
	mismatch(&named)
	create := &mlsapi.CreateConvoInput{
		GroupID: string(mlstest.NewGroup(r.chat.Group.Suite).GroupID()), IdempotencyKey: e2e.Key(),
		CipherSuite:    mlsapi.CreateConvoInputCipherSuite(r.chat.Group.Suite.String()),
		InitialMembers: []mls.DID{dave.DID, erin.DID}, WelcomeMessage: one.WelcomeMessage,
	}
	r.alice.Post(t, mlsapi.MethodCreateConvo, create, nil).Want(t, http.StatusBadRequest, "WelcomeMismatch")
	// What was refused used nothing up.
	r.alice.Post(t, mlsapi.MethodAddMembers, both, nil).OK(t)
}
