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

// trio is a conversation that alice has made with bob and carol.
func trio(t *testing.T, s *e2e.Server) (alice, bob, carol *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	users := s.Users(3)
	alice, bob, carol = users[0].Register(t, 6), users[1].Register(t, 6), users[2].Register(t, 6)
	return alice, bob, carol, alice.Create(t, bob.User, carol.User)
}

// owes says whether a removal is owed in the conversation for the user, and no commit is said to
// have made it.
func owes(t *testing.T, as *e2e.User, chat *e2e.Chat, u *e2e.User) bool {
	t.Helper()
	for _, r := range as.Pending(t, chat) {
		if r.Kind == "removal" && r.UserDID == u.DID && r.Claimed == nil {
			return true
		}
	}
	return false
}

// Leaving ends membership at once, is answered the same again, and leaves a debt that the members
// are told of.
func TestLeave(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, carol, chat := trio(t, s)
	stream, own := alice.Follow(t, ""), carol.Follow(t, "")
	for range 2 {
		carol.Leave(t, chat, nil).OK(t)
	}
	event := stream.Await(t, "removal-pending")
	assert.Equal(t, carol.DID, event.User)
	assert.Equal(t, carol.ID, event.DeviceID)
	assert.True(t, owes(t, bob.User, chat, carol.User))
	bob.Send(t, chat)
	carol.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID).Want(t, http.StatusForbidden, "NotMember")
	carol.Post(t, mlsapi.MethodSendMessage, chat.Message(), nil).Want(t, http.StatusForbidden, "NotMember")
	assert.Nil(t, carol.Convo(t, chat))
	// An opaque commit that removes somebody, for all the server knows, settles nothing.
	bob.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	assert.True(t, owes(t, bob.User, chat, carol.User))
	// I10: nothing of what came after reached the leaver.
	stream.Await(t, "epoch-advanced")
	for _, e := range own.Events() {
		assert.NotEqual(t, "message", e.Kind)
		assert.NotEqual(t, "epoch-advanced", e.Kind)
	}
}

// Any member may say of a commit that it removes a user who has left; nobody else may. Where it
// cannot be read, the debt is claimed, and settled when an admin confirms it.
func TestDebtClaimedByNamedCommit(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, carol, chat := trio(t, s)
	commit := func() *string { return new(mls.EncodeText(chat.Group.PrivateCommit())) }
	out := func() *mlsapi.LeaveConvoInput {
		return &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &carol.DID, Commit: commit()}
	}
	bob.Post(t, mlsapi.MethodLeaveConvo, out(), nil).Want(t, http.StatusForbidden, "NotAdmin")
	carol.Leave(t, chat, nil).OK(t)
	carol.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &bob.DID, Commit: commit()}, nil).
		Want(t, http.StatusForbidden, "NotMember")
	wantCode(t, bob.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &carol.DID}, nil),
		"InvalidCommit", mls.CodeCommitMissing)
	bare := e2e.AdditionOf(chat, nil, carol.DID)
	bare.Commit, bare.WelcomeMessage = nil, nil
	wantCode(t, bob.Post(t, mlsapi.MethodAddMembers, bare, nil), "InvalidCommit", mls.CodeCommitMissing)
	require.True(t, owes(t, alice.User, chat, carol.User))
	var done mlsapi.LeaveConvoOutput
	bob.Post(t, mlsapi.MethodLeaveConvo, out(), &done).OK(t)
	assert.Equal(t, int64(chat.Group.Epoch)+1, done.NewEpoch)
	assert.False(t, owes(t, alice.User, chat, carol.User))
	// Alice is an admin and sees that it is so: nothing is owed now.
	chat.Next()
	judge(t, alice.User, chat, claims(t, alice.User, chat, carol.User), true)
	bob.Post(t, mlsapi.MethodLeaveConvo, out(), nil).Want(t, http.StatusForbidden, "NotAdmin")
}

// A removal comes with its commit, or leaves a debt; the removed user is not restored by anything
// but an addition.
func TestRemoval(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, carol, chat := trio(t, s)
	own := carol.Follow(t, "")
	bob.Remove(t, chat, carol.User, nil).Want(t, http.StatusForbidden, "NotAdmin")
	alice.Remove(t, chat, alice.User, nil).Want(t, http.StatusBadRequest, "CannotRemoveSelf")
	alice.Remove(t, chat, carol.User, chat.Group.At(chat.Group.Epoch+1).PrivateCommit()).Want(t, http.StatusConflict, "EpochMismatch")
	alice.Remove(t, chat, carol.User, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	assert.Equal(t, int64(chat.Group.Epoch), bob.Epoch(t, chat))
	assert.False(t, owes(t, bob.User, chat, carol.User), "the commit came with the removal")
	assert.NotEmpty(t, claims(t, bob.User, chat, carol.User), "nobody else has seen that it removes carol")
	alice.Remove(t, chat, carol.User, nil).Want(t, http.StatusForbidden, "NotMember")
	bob.Send(t, chat)
	own.Await(t, "membership-changed")
	for _, e := range own.Events() {
		assert.LessOrEqual(t, e.Seq, int64(1), "I10: ordered after the removal")
	}
	removal := carol.Messages(t, chat).Messages[0]
	bare := *e2e.AdditionOf(chat, nil, carol.DID)
	bare.WelcomeMessage = nil
	for _, a := range []e2e.Answer{
		carol.Leave(t, chat, nil),
		carol.Get(t, mlsapi.MethodGetMessages, nil, "convoId", chat.ID, "sinceMessage", removal.ID),
		carol.Post(t, mlsapi.MethodAddMembers, &bare, nil),
		carol.SendBytes(t, chat, chat.Group.PrivateCommit()),
	} {
		a.Want(t, http.StatusForbidden, "NotMember")
	}
	// Added again, it reads from there on.
	alice.Add(t, chat, carol.User)
	_, a := carol.Welcome(t, chat, carol.ID)
	a.OK(t)
	assert.Empty(t, carol.Messages(t, chat).Messages)
	sent := bob.Send(t, chat)
	page := carol.Messages(t, chat)
	require.Len(t, page.Messages, 1)
	assert.Equal(t, sent.MessageID, page.Messages[0].ID)

	// Removal without a commit: the debt is settled by an admin's commit for it.
	alice.Remove(t, chat, bob.User, nil).OK(t)
	assert.True(t, owes(t, carol.User, chat, bob.User))
	carol.Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{
		ConvoID: chat.ID, TargetDID: &bob.DID, Commit: new(mls.EncodeText(chat.Group.PrivateCommit())),
	}, nil).OK(t)
	assert.False(t, owes(t, carol.User, chat, bob.User))
}

// A removal repeated with its key is answered alike; with another body the key is refused.
func TestRemovalRepeated(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, carol, chat := trio(t, s)
	in := &mlsapi.RemoveMemberInput{ConvoID: chat.ID, TargetDID: carol.DID, IdempotencyKey: *e2e.Key()}
	first := alice.Post(t, mlsapi.MethodRemoveMember, in, nil).OK(t)
	bob.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	again := alice.Post(t, mlsapi.MethodRemoveMember, in, nil).OK(t)
	assert.Equal(t, string(first.Body), string(again.Body))
	in.TargetDID = bob.DID
	alice.Post(t, mlsapi.MethodRemoveMember, in, nil).Want(t, http.StatusUnprocessableEntity, "IdempotencyKeyReused")
}

// When a leaver has proposed its removal, an opaque commit of the same epoch is taken to contain it
// (RFC 9420 12.4): the debt is claimed, and no commit is asked for.
func TestDebtClaimedByCommitAfterProposal(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, carol, chat := trio(t, s)
	// A leaver cannot commit its own removal (RFC 9420 12.2).
	carol.Leave(t, chat, chat.Group.PrivateCommit()).Want(t, http.StatusBadRequest, "InvalidCommit")
	carol.Leave(t, chat, chat.Group.At(chat.Group.Epoch+1).PrivateProposal()).Want(t, http.StatusConflict, "EpochMismatch")
	require.NotNil(t, carol.Convo(t, chat), "nothing of a refused request stays")
	carol.Leave(t, chat, chat.Group.PrivateProposal()).OK(t)
	assert.True(t, owes(t, alice.User, chat, carol.User))
	page := bob.Messages(t, chat)
	require.Len(t, page.Messages, 1)
	assert.Equal(t, mlsapi.DefsMessageViewMessageType("proposal"), *page.Messages[0].MessageType)
	bob.SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	assert.False(t, owes(t, alice.User, chat, carol.User))
}

// A readable commit settles what it is seen to remove, where the leaf is known: the creator has
// leaf 0 (RFC 9420 11).
func TestDebtSettledByVisibleRemoval(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, _, chat := trio(t, s)
	commit := func(leaves ...uint32) []byte {
		c := mlstest.Commit{From: bob.Client, Leaf: 1}
		for _, leaf := range leaves {
			c.Proposals = append(c.Proposals, mlstest.Remove(leaf))
		}
		return chat.Group.Commit(c)
	}
	alice.Leave(t, chat, nil).OK(t)
	bob.SendBytes(t, chat, commit(5)).OK(t)
	chat.Next()
	assert.True(t, owes(t, bob.User, chat, alice.User), "another leaf was removed")
	bob.SendBytes(t, chat, commit(0)).OK(t)
	chat.Next()
	assert.False(t, owes(t, bob.User, chat, alice.User))
}

// The rules of RFC 9420 12.2 and 12.4 that a PublicMessage shows are enforced, by name, and nothing
// stays.
func TestVisibleCommitRules(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, _, chat := trio(t, s)
	for name, c := range map[string]struct {
		commit mlstest.Commit
		says   string
	}{
		"self-removal":    {mlstest.Commit{From: bob.Client, Leaf: 1, Proposals: []mlstest.Proposal{mlstest.Remove(1)}}, "SelfRemoval"},
		"double removal":  {mlstest.Commit{From: bob.Client, Leaf: 1, Proposals: []mlstest.Proposal{mlstest.Remove(2), mlstest.Remove(2)}}, ""},
		"no path":         {mlstest.Commit{From: bob.Client, Leaf: 1, NoPath: true, Proposals: []mlstest.Proposal{mlstest.Remove(2)}}, "MissingUpdatePath"},
		"empty, no path":  {mlstest.Commit{From: bob.Client, Leaf: 1, NoPath: true}, "MissingUpdatePath"},
		"wrong path leaf": {mlstest.Commit{From: bob.Client, Leaf: 1, BadPathLeaf: true}, "LeafSignature"},
	} {
		a := bob.SendBytes(t, chat, chat.Group.Commit(c.commit))
		assert.Equal(t, "InvalidCommit", a.Error, name)
		assert.Contains(t, a.Message, c.says, name)
	}
	assert.Equal(t, int64(chat.Group.Epoch), alice.Epoch(t, chat))
	assert.Empty(t, alice.Messages(t, chat).Messages)
}
