package e2e_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// TestReInitNeedsAnAdmin: one message of any member ended the group of an opaque conversation, and
// gave that member the next one to choose.
func TestReInitNeedsAnAdmin(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 3)
	next := mlstest.NewVerifiedGroup(u[2].Client)
	forger := mlstest.NewClient("did:plc:zzzzzzzzzzzzzzzzzzzzzzzz", "", 1)
	ends := func(from *mlstest.Client) []byte {
		return chat.Group.Commit(mlstest.Commit{From: from, Leaf: 77, NoPath: true, Proposals: []mlstest.Proposal{mlstest.ReInitTo(next.Group)}})
	}
	for _, from := range []*mlstest.Client{forger, u[2].Client} {
		u[2].SendBytes(t, chat, ends(from)).Want(t, http.StatusForbidden, "NotAdmin")
	}
	u[1].Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).OK(t)
	u[0].SendBytes(t, chat, ends(u[0].Client)).OK(t)
	u[0].Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, http.StatusConflict, "GroupReinitialized")
}

// TestUndoneUsersWishNothing: who is off the roster because the commit that added it is void asks
// for nothing any more, and leaves no conversation without an admin.
func TestUndoneUsersWishNothing(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	eve := s.Users(1)[0].Register(t, 4)
	eve.User.Register(t, 4) // a second device, which the members are asked to add
	before := *chat
	u[3].Post(t, mlsapi.MethodAddMembers, e2e.AdditionOf(chat, u[3].ClaimDevice(t, eve), eve.DID), nil).OK(t)
	chat.Next()
	eve.Accept(t, chat).OK(t)
	require.Len(t, u[0].Pending(t, chat), 1)
	u[0].Promote(t, chat, eve.User).OK(t)
	u[0].Demote(t, chat, u[0].User).OK(t)
	for i, r := range u[:2] {
		assert.Equal(t, i == 1, reports(t, r, &before, before.Group.Epoch, ""))
	}
	assert.Empty(t, u[0].Pending(t, chat))
	admins := 0
	for _, m := range u[1].Convo(t, chat).Members {
		if m.IsAdmin {
			admins++
		}
	}
	assert.Equal(t, 1, admins)
}

// TestVoidedRemovalAtOnesOwnWish: a leaf that is in the group again has its device on the roster or
// is owed, whoever wished it away.
func TestVoidedRemovalAtOnesOwnWish(t *testing.T) {
	t.Parallel()
	f := follow(t)
	p := f.chat.Tree.ProposeRemove(2, 2)
	f.carol.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(p.Message, nil), nil).OK(t)
	before := f.chat.Tree
	f.bob.SendCommit(t, f.chat, mlstest.Draft{Refs: []mlstest.Sent{p}})
	require.True(t, reports(t, f.alice, f.chat.Chat, before.Epoch, ""))
	f.chat.Move(before)
	v := f.view(f.alice)
	assert.Len(t, v.Members, 2)
	assert.Len(t, v.PendingRequests, 1, "carol's leaf is owed")
}

// TestProposalsOfVoidEpochs: a commit settles the debts that were proposed in its own epoch, not in
// a void one of the same number.
func TestProposalsOfVoidEpochs(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 6)
	u[5].Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	next := *chat
	next.Next()
	u[4].Leave(t, &next, next.Group.PrivateProposal()).OK(t)
	for i, r := range u[:3] {
		assert.Equal(t, i == 2, reports(t, r, chat, chat.Group.Epoch, ""))
	}
	for range 2 {
		require.Len(t, u[0].Pending(t, chat), 1)
		u[0].SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
		chat.Next()
	}
	assert.Len(t, u[0].Pending(t, chat), 1, "nothing has removed that leaf")
}

// TestHealedDevicesReportNothing: a report is about a state that its device cannot follow. It ends
// when the device is added anew.
func TestHealedDevicesReportNothing(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 6)
	bad := garbage(chat)
	u[5].Post(t, mlsapi.MethodSendMessage, bad, nil).OK(t)
	first := *chat
	chat.Next()
	for _, r := range u[1:3] { // two of five, which is no quorum
		require.False(t, reports(t, r, &first, first.Group.Epoch, bad.MsgID))
		request := r.Rejoin(t, chat)
		u[0].AddPackages(t, chat, u[0].ClaimRequest(t, request.RequestID, r.DID).KeyPackages, r.DID)
	}
	epoch := u[0].Epoch(t, chat)
	last := *chat
	u[0].SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	assert.False(t, reports(t, u[4], &last, last.Group.Epoch, ""), "one hostile report and two that are settled")
	assert.Equal(t, epoch+1, u[0].Epoch(t, chat))
}

// TestRejoiningDevicesReportNothing: naming no device is no way around that.
func TestRejoiningDevicesReportNothing(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 3)
	u[2].Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	for _, d := range u[:2] {
		d.Rejoin(t, chat)
		assert.False(t, reports(t, d, chat, chat.Group.Epoch, ""))
	}
}

// TestMismatchDoesNotOutliveVoiding: a request that came too late is the right one again when the
// epoch is open again.
func TestMismatchDoesNotOutliveVoiding(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	add := u[0].Addition(t, chat, s.Users(1)[0].Register(t, 4).User)
	u[3].Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
	u[0].Post(t, mlsapi.MethodAddMembers, add, nil).Want(t, http.StatusConflict, "EpochMismatch")
	for _, r := range u[:2] {
		reports(t, r, chat, chat.Group.Epoch, "")
	}
	require.Equal(t, int64(chat.Group.Epoch), u[0].Epoch(t, chat))
	u[0].Post(t, mlsapi.MethodAddMembers, add, nil).OK(t)
}

// TestLongChainsAreTakenBackInParts: however many commits follow a false one, a report has an end.
func TestLongChainsAreTakenBackInParts(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 3)
	first := *chat
	for range 210 {
		u[2].Post(t, mlsapi.MethodSendMessage, garbage(chat), nil).OK(t)
		chat.Next()
	}
	oldest := u[0].Messages(t, &first).Messages[0].ID
	require.False(t, reports(t, u[0], &first, first.Group.Epoch, oldest))
	for _, epoch := range []int64{int64(first.Group.Epoch) + 10, int64(first.Group.Epoch)} {
		assert.Equal(t, epoch == int64(first.Group.Epoch), reports(t, u[1], &first, first.Group.Epoch, oldest))
		assert.Equal(t, epoch, u[0].Epoch(t, &first))
	}
}

// TestDebtsFollowTheirLeaves: a leaf that was another one in a void epoch is owed where it is now.
func TestDebtsFollowTheirLeaves(t *testing.T) {
	t.Parallel()
	f := follow(t)
	f.alice.AddVerified(t, f.chat, mlstest.Draft{}, f.dave)
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{1}})
	f.dave.SendCommit(t, f.chat, mlstest.Draft{}) // so that a join by its GroupInfo blames dave
	before := f.chat.Tree
	f.carol.Join(t, f.chat, mlstest.Draft{}) // from leaf 2 to leaf 1, which is blank
	f.carol.Leave(t, f.chat.Chat, nil).OK(t)
	for i, d := range []*e2e.Device{f.alice, f.dave} {
		require.Equal(t, i == 1, reports(t, d, f.chat.Chat, before.Epoch, ""))
	}
	f.chat.Move(before)
	require.Len(t, f.view(f.alice).PendingRequests, 1)
	erin := f.alice.Server.Users(1)[0].Register(t, 4)
	f.alice.AddVerified(t, f.chat, mlstest.Draft{}, erin)
	f.roster(map[*e2e.Device]int64{f.alice: 0, erin: 1, f.dave: 3})
	require.Len(t, f.view(f.alice).PendingRequests, 1, "erin's leaf is not the one that is owed")
	commit, info, _ := f.chat.Commit(t, erin, mlstest.Draft{Remove: []uint32{3}})
	erin.Post(t, mlsapi.MethodSendMessage, f.chat.Handshake(commit, info), nil).Want(t, http.StatusForbidden, "NotAdmin")
	erin.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{2}}) // which anybody may settle
	assert.Empty(t, f.view(f.alice).PendingRequests)
	f.roster(map[*e2e.Device]int64{f.alice: 0, erin: 1, f.dave: 3})
}

// TestWelcomesWaitAgain: a Welcome that the one of a void commit had superseded is there again for
// a device that has not joined yet.
func TestWelcomesWaitAgain(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	phone := u[1].User.Register(t, 4)
	u[0].AddPackages(t, chat, u[0].ClaimDevice(t, phone), phone.DID)
	first, a := phone.Welcome(t, chat, phone.ID)
	a.OK(t)
	laptop := phone.User.Register(t, 4)
	before := *chat
	again := u[3].AddPackages(t, chat, append(u[3].ClaimDevice(t, phone), u[3].ClaimDevice(t, laptop)...), phone.DID)
	second, a := phone.Welcome(t, chat, phone.ID)
	a.OK(t)
	require.Equal(t, *again.WelcomeMessage, second.Welcome)
	for i, r := range []*e2e.Device{u[0], u[2]} {
		require.Equal(t, i == 1, reports(t, r, &before, before.Group.Epoch, ""))
	}
	waiting, a := phone.Welcome(t, chat, phone.ID)
	a.OK(t)
	assert.Equal(t, first.Welcome, waiting.Welcome)
	assert.True(t, phone.Confirm(t, chat, true))
	_, a = phone.Welcome(t, chat, laptop.ID)
	a.Want(t, http.StatusNotFound, "WelcomeNotFound")
}
