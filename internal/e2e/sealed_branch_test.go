package e2e_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// An epoch may have been there twice: a commit that led to it was taken back and another one
// stands, or the conversation has another group. Keys of the first time are known to whom only that
// one had in it.

// branched is an opaque conversation whose epoch 2 was there twice, and the commits that have led
// to it.
type branched struct {
	u          []*e2e.Device
	chat       *e2e.Chat
	void, next string
}

func branch(t *testing.T) *branched {
	t.Helper()
	b := &branched{}
	b.u, b.chat = gathering(t, e2e.Start(t), 4)
	commit := garbage(b.chat)
	b.u[0].Post(t, mlsapi.MethodSendMessage, commit, nil).OK(t)
	b.void = commit.MsgID
	require.False(t, reports(t, b.u[1], b.chat, b.chat.Group.Epoch, ""))
	require.True(t, reports(t, b.u[2], b.chat, b.chat.Group.Epoch, ""))
	b.next = b.commit(t, b.u[1], func(in *mlsapi.SendMessageInput) { in.SendKey = nil })
	return b
}

// commit makes the next epoch, with a key that nobody else can tell from a true one.
func (b *branched) commit(t *testing.T, by *e2e.Device, change func(in *mlsapi.SendMessageInput)) string {
	t.Helper()
	in := garbage(b.chat)
	b.chat.Next()
	in.SendKey = b.chat.SendKey()
	if change != nil {
		change(in)
	}
	by.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
	return in.MsgID
}

func (b *branched) give(t *testing.T, by *e2e.Device, change func(in *mlsapi.DepositSendKeyInput)) (e2e.Answer, bool) {
	t.Helper()
	in := &mlsapi.DepositSendKeyInput{ConvoID: b.chat.ID, Epoch: int64(b.chat.Group.Epoch), SendKey: b.chat.SendKey()}
	change(in)
	var out mlsapi.DepositSendKeyOutput
	a := by.Post(t, mlsapi.MethodDepositSendKey, in, &out)
	return a, out.Accepted
}

// TestSendKeysOfVoidCommits: who has merged a commit that was taken back cannot give the key that
// whoever was added by it knows. Who says by which commit it came to the epoch can give one.
func TestSendKeysOfVoidCommits(t *testing.T) {
	t.Parallel()
	b := branch(t)
	s := b.u[0].Server

	say := func(commit string) func(in *mlsapi.DepositSendKeyInput) {
		return func(in *mlsapi.DepositSendKeyInput) { in.CommitID = &commit }
	}
	silent := func(*mlsapi.DepositSendKeyInput) {}
	a, accepted := b.give(t, b.u[0], silent)
	a.OK(t)
	assert.False(t, accepted, "of the epoch as it was the first time, for all that is known")
	a, _ = b.give(t, b.u[0], say(b.void))
	a.Want(t, conflict, "EpochMismatch")
	a, accepted = b.give(t, b.u[1], say(b.next))
	a.OK(t)
	assert.True(t, accepted)
	s.SendSealed(t, b.chat)

	// A commit that is made in that epoch brings its key only if it says so, too.
	b.commit(t, b.u[3], nil)
	trySealed(t, s, b.chat.Sealed()).Want(t, missing, "ConvoNotFound")
	// There was one epoch 3.
	a, accepted = b.give(t, b.u[2], silent)
	a.OK(t)
	assert.True(t, accepted)
	s.SendSealed(t, b.chat)
	b.commit(t, b.u[3], nil)
	s.SendSealed(t, b.chat)
}

// TestSendKeysOfPlacedCommits: a commit that names the one that stands brings its key.
func TestSendKeysOfPlacedCommits(t *testing.T) {
	t.Parallel()
	b := branch(t)
	b.commit(t, b.u[3], func(in *mlsapi.SendMessageInput) { in.CommitID = &b.next })
	b.u[0].Server.SendSealed(t, b.chat)
}

// TestSendKeysAfterAReset: the epochs of the new group are counted from its beginning, and members
// who have not heard of it may be in the same ones.
func TestSendKeysAfterAReset(t *testing.T) {
	t.Parallel()
	f := follow(t)
	former := f.chat.Group.Epoch
	f.alice.SendCommit(t, f.chat, mlstest.Draft{})
	f.chat = f.alice.Reset(t, f.chat.Chat, f.bob, f.carol)
	require.Equal(t, former, f.chat.Group.Epoch)
	give := func(generation int64, commit string, status int, fault string, accepted bool) {
		t.Helper()
		in := &mlsapi.DepositSendKeyInput{ConvoID: f.chat.ID, Epoch: int64(f.chat.Group.Epoch), SendKey: f.chat.SendKey()}
		if generation >= 0 {
			in.Generation = &generation
		}
		if commit != "" {
			in.CommitID = &commit
		}
		var out mlsapi.DepositSendKeyOutput
		a := f.bob.Post(t, mlsapi.MethodDepositSendKey, in, &out)
		if fault != "" {
			a.Want(t, status, fault)
			return
		}
		a.OK(t)
		assert.Equal(t, accepted, out.Accepted, fmt.Sprint(generation, commit))
	}
	give(-1, "", 0, "", false)
	give(0, "", conflict, "GroupReset", false)
	give(2, "", bad, "InvalidRequest", false)
	give(1, strings.Repeat("x", 26), conflict, "EpochMismatch", false)
	give(1, "", 0, "", true)
	f.alice.Server.SendSealed(t, f.chat.Chat)

	f.alice.SendCommit(t, f.chat, mlstest.Draft{})
	give(-1, "", 0, "", false)
	var now mlsapi.GetEpochOutput
	f.bob.Get(t, mlsapi.MethodGetEpoch, &now, "convoId", f.chat.ID).OK(t)
	give(-1, *now.CommitID, 0, "", true)
	f.alice.Server.SendSealed(t, f.chat.Chat)
}
