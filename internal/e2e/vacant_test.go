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

// replaces deletes a device of a user, and registers another one.
func replaces(t *testing.T, d *e2e.Device) *e2e.Device {
	t.Helper()
	d.Delete(t, d, nil).OK(t)
	return d.User.Register(t, 12)
}

// TestRemovedUsersLeaveNoPlace: a place that was kept of a device of before does not keep on the
// roster whose leaf a commit removes.
func TestRemovedUsersLeaveNoPlace(t *testing.T) {
	t.Parallel()
	f := follow(t)
	phone := f.bob
	f.bob = replaces(t, f.bob)
	f.alice.AddVerified(t, f.chat, mlstest.Draft{}, f.bob)
	// The leaf of the deleted device goes; its user stays.
	f.carol.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{f.chat.Leaf(t, phone)}})
	require.Equal(t, []string{f.bob.ID}, devicesOf(f.view(f.alice), f.bob.User))
	f.alice.SendCommit(t, f.chat, mlstest.Draft{Remove: []uint32{f.chat.Leaf(t, f.bob)}})
	assert.Len(t, f.view(f.alice).Members, 2)
	assert.Nil(t, f.bob.Convo(t, f.chat.Chat))
	f.bob.Post(t, mlsapi.MethodSendMessage, f.chat.Message(), nil).Want(t, http.StatusForbidden, "NotMember")
}

// TestUndoneUsersLeaveNoPlace: nor does one keep a user whom a commit had added that is void. Who
// was there before it stays.
func TestUndoneUsersLeaveNoPlace(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	eve, tablet := s.Users(1)[0].Register(t, 4), u[3].User.Register(t, 4)
	before := *chat
	add := func(users ...*e2e.Device) {
		t.Helper()
		var packages []mlsapi.DefsKeyPackageRef
		for _, d := range users {
			packages = append(packages, u[4].ClaimDevice(t, d)...)
		}
		u[4].AddPackages(t, chat, packages, e2e.DIDs([]*e2e.User{users[0].User, users[1].User})...)
	}
	add(eve, tablet)
	for _, d := range []*e2e.Device{eve, u[3], tablet} {
		d.Delete(t, d, d.Prove(d, nil)).OK(t)
	}
	require.NotNil(t, eve.Convo(t, chat), "she is there with her place")
	for i, r := range u[:2] {
		assert.Equal(t, i == 1, reports(t, r, &before, before.Group.Epoch, ""))
	}
	assert.Nil(t, eve.Convo(t, chat))
	require.NotNil(t, u[3].Convo(t, chat), "he was there before")
	for _, p := range u[0].Pending(t, chat) {
		assert.Equal(t, u[3].DID, p.UserDID)
		assert.Equal(t, u[3].ID, *p.DeviceID, "no other leaf is in the group that is back")
	}
	assert.Len(t, u[0].Pending(t, chat), 1)
	// He reads what he could read before.
	assert.Equal(t, u[0].Messages(t, chat).Messages, u[3].Messages(t, chat).Messages)
}

// TestUndoneReturnsOweOnce: of whom a void commit had brought back the leaf is owed that was before
// it, and none that the commit had added.
func TestUndoneReturnsOweOnce(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	eve := u[3]
	u[0].Remove(t, chat, eve.User, nil).OK(t)
	owed := u[0].Pending(t, chat)
	require.Len(t, owed, 1)
	judge(t, u[0].User, chat, owed[0].RequestID, true)
	require.Empty(t, u[0].Pending(t, chat), "her leaf is gone by the admin's word")
	before := *chat
	u[4].AddPackages(t, chat, u[4].ClaimDevice(t, eve), eve.DID)
	eve.Leave(t, chat, nil).OK(t)
	for i, r := range u[:2] {
		assert.Equal(t, i == 1, reports(t, r, &before, before.Group.Epoch, ""))
	}
	assert.Empty(t, u[0].Pending(t, chat))
}

// TestKeptPlacesOweNothing: a place without a device has no leaf that could be owed, whoever says
// that a commit removes it, and whether that commit stands.
func TestKeptPlacesOweNothing(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 4)
	tablet := replaces(t, u[3])
	u[0].AddPackages(t, chat, u[0].ClaimDevice(t, tablet), tablet.DID)
	owed := func() (devices []string) {
		t.Helper()
		for _, p := range u[1].Pending(t, chat) {
			require.NotNil(t, p.DeviceID, "a leaf of nobody is owed")
			devices = append(devices, *p.DeviceID)
		}
		return devices
	}
	require.Equal(t, []string{u[3].ID}, owed())
	u[0].Remove(t, chat, tablet.User, chat.Group.PrivateCommit()).OK(t)
	assert.ElementsMatch(t, []string{u[3].ID, tablet.ID}, owed())
	for i, r := range u[1:3] {
		assert.Equal(t, i == 1, reports(t, r, chat, chat.Group.Epoch, ""))
	}
	assert.ElementsMatch(t, []string{u[3].ID, tablet.ID}, owed())
}

// TestKeptPlacesReadNothing: commits that all devices have read are not kept for a place without
// one.
func TestKeptPlacesReadNothing(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 3)
	tablet := replaces(t, u[1])
	u[0].AddPackages(t, chat, u[0].ClaimDevice(t, tablet), tablet.DID)
	u[2].Delete(t, u[2], nil).OK(t)
	u[0].SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	chat.Next()
	last := u[0].Send(t, chat)
	for _, d := range []*e2e.Device{u[0], tablet} {
		d.Post(t, mlsapi.MethodUpdateCursor, &mlsapi.UpdateCursorInput{ConvoID: chat.ID, Cursor: last.MessageID}, nil).OK(t)
	}
	after(t, s, 31)
	assert.Empty(t, rowsOf(t, s, "SELECT seq FROM commits"))
}

// TestLeaflessMembersElectNobody: who is in no group has no voice about its commits.
func TestLeaflessMembersElectNobody(t *testing.T) {
	t.Parallel()
	f := follow(t)
	change(t, f.alice.Server, "DELETE FROM key_packages WHERE owner_did = $1", f.carol.DID)
	f.chat = f.alice.Reset(t, f.chat.Chat, f.bob)
	require.Len(t, f.view(f.bob).PendingRequests, 1, "carol waits to be added")
	before := f.chat.Tree
	f.alice.SendCommit(t, f.chat, mlstest.Draft{})
	assert.True(t, reports(t, f.bob, f.chat.Chat, before.Epoch, ""), "nobody else was in the group")
}

// TestWhoIsLeftWithADeviceResets: users without any device keep nobody from beginning anew.
func TestWhoIsLeftWithADeviceResets(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 2)
	in, _ := u[1].ResetInput(t, chat)
	u[1].Post(t, mlsapi.MethodResetConvo, in, nil).Want(t, http.StatusForbidden, "NotAdmin")
	u[0].Delete(t, u[0], nil).OK(t)
	begun := u[1].Reset(t, chat)
	tablet := u[0].User.Register(t, 2)
	u[1].AddVerified(t, begun, mlstest.Draft{}, tablet)
	assert.Equal(t, []string{tablet.ID}, devicesOf(u[1].Convo(t, begun.Chat), tablet.User))
}

// TestWordsAboutNoCommitGoBack: a removal that is closed by words alone is open again when the
// commit is void that made them true.
func TestWordsAboutNoCommitGoBack(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	u, chat := gathering(t, s, 5)
	u[4].Leave(t, chat, nil).OK(t)
	debt := u[0].Pending(t, chat)[0].RequestID
	// It removes the leaf, and does not say so.
	u[3].SendBytes(t, chat, chat.Group.PrivateCommit()).OK(t)
	epoch := chat.Group.Epoch
	judge(t, u[0].User, chat, debt, true)
	require.Empty(t, u[0].Pending(t, chat))
	for i, r := range u[:2] {
		assert.Equal(t, i == 1, reports(t, r, chat, epoch, ""))
	}
	assert.True(t, owes(t, u[0].User, chat, u[4].User))
}

// TestLiarsCloseNothingForGood: whoever sees a leaf says so each time that others deny it; each of
// them does so once until there is another commit to speak of.
func TestLiarsCloseNothingForGood(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"RATE_LIMIT_REPORT_COMMIT": "100/100"})
	u, chat := gathering(t, s, 7)
	alice, honest, liars, gone := u[0], u[1], u[2:6], u[6]
	gone.Leave(t, chat, nil).OK(t)
	debt := alice.Pending(t, chat)[0].RequestID
	closes := func(pair ...*e2e.Device) {
		t.Helper()
		for _, l := range pair {
			judge(t, l.User, chat, debt, true)
		}
	}
	for _, pair := range [][]*e2e.Device{liars[:2], liars[2:]} {
		closes(pair...)
		require.Empty(t, alice.Pending(t, chat))
		assert.True(t, judge(t, honest.User, chat, debt, false))
	}
	closes(liars...)
	assert.True(t, owes(t, alice.User, chat, gone.User), "they have said so")
	// A commit is something new to speak of.
	liars[0].Post(t, mlsapi.MethodLeaveConvo, &mlsapi.LeaveConvoInput{ConvoID: chat.ID, TargetDID: &gone.DID, Commit: e2e.Text(chat.Group.PrivateCommit())}, nil).OK(t)
	chat.Next()
	closes(liars[1:3]...)
	require.Empty(t, alice.Pending(t, chat))
	assert.True(t, judge(t, honest.User, chat, debt, false))
	assert.True(t, judge(t, honest.User, chat, debt, false), "it is open")
	assert.Len(t, rowsOf(t, s, "SELECT FROM event_stream WHERE kind = (SELECT kind FROM event_stream WHERE request_id = $1 LIMIT 1) AND request_id = $1", debt), 4,
		"one for the departure, and one for each closing")
}
