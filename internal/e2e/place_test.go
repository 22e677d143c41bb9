package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// TestWhoHasNoDeviceResetsNobodyOut: a member who has deleted its device is not the one who is
// left, when others have one: it begins no group without them.
func TestWhoHasNoDeviceResetsNobodyOut(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 2)
	tablet := replaces(t, u[1])
	in, _ := tablet.ResetInput(t, chat)
	tablet.Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, forbidden, "NotAdmin")
	assert.Equal(t, int64(chat.Group.Epoch), u[0].Epoch(t, chat))
}

// TestPlacesHoldNoRole: where only a place is kept of an admin, somebody with a device gets the
// role when the last one leaves it, and before that it cannot be laid down.
func TestPlacesHoldNoRole(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	admins := func() (dids []string) {
		t.Helper()
		for _, m := range u[3].Convo(t, chat).Members {
			if m.IsAdmin {
				dids = append(dids, string(m.UserDID))
			}
		}
		return dids
	}
	u[1].Delete(t, u[1], nil).OK(t)
	u[0].Promote(t, chat, u[1].User).OK(t)
	u[0].Demote(t, chat, u[0].User).Want(t, conflict, "LastAdmin")
	u[0].Leave(t, chat, nil).OK(t)
	assert.ElementsMatch(t, []string{string(u[1].DID), string(u[2].DID)}, admins())

	// Who has been here longest has no device, and is not made the admin.
	v, other := gathering(t, s, 4)
	v[1].Delete(t, v[1], nil).OK(t)
	v[0].Leave(t, other, nil).OK(t)
	v[2].Promote(t, other, v[3].User).OK(t)
}

// TestRemovalsOfTheUndoneAreNotOwed: an addition and the removal of whom it had added are taken
// back by one report; the leaf is in no group then.
func TestRemovalsOfTheUndoneAreNotOwed(t *testing.T) {
	t.Parallel()
	f := follow(t)
	before := f.chat.Tree
	f.alice.AddVerified(t, f.chat, mlstest.Draft{}, f.dave)
	added := *f.view(f.bob).CommitID
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{f.chat.Leaf(t, f.dave)}})
	for i, d := range []*e2e.Device{f.bob, f.carol} {
		assert.Equal(t, i == 1, reports(t, d, f.chat.Chat, before.Epoch, added))
	}
	f.chat.Move(before)
	v := f.view(f.alice)
	require.Equal(t, int64(before.Epoch), v.Epoch)
	assert.Empty(t, v.PendingRequests)
	assert.Len(t, v.Members, 3)
}
