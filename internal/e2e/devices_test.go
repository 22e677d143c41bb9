package e2e_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// devicesOf are the devices that the roster lists for a user.
func devicesOf(v *mlsapi.DefsConvoView, u *e2e.User) []string {
	var ids []string
	for i := range v.Members {
		if m := &v.Members[i]; m.UserDID == u.DID && m.DeviceID != nil {
			ids = append(ids, *m.DeviceID)
		}
	}
	slices.Sort(ids)
	return ids
}

func sorted(ids ...string) []string {
	slices.Sort(ids)
	return ids
}

// A registration asks the members of each active conversation to add the
// device; the user's own other device does so, and the new one gets a Welcome of its own.
func TestNewDeviceIsAddedByItsSister(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(3)
	alice, bob, carol := users[0], users[1], users[2]
	phone := alice.Register(t, 4)
	bobPhone := bob.Register(t, 4)
	carol.Register(t, 4)
	first, second := alice.Create(t, bob), bob.Create(t, alice, carol)
	left := carol.Create(t, alice, bob)
	alice.Leave(t, left, nil).OK(t)
	stream := bob.Follow(t, "convoId="+first.ID)

	laptop := &e2e.Device{User: alice, Client: newClient(alice)}
	out := laptop.RegisterAgain(t, 4)
	assert.ElementsMatch(t, []string{first.ID, second.ID}, out.AutoJoinedConvos, "conversations that were left are not asked")
	assert.Equal(t, string(alice.DID)+"#"+laptop.ID, string(out.MLSDID))
	assert.Empty(t, out.WelcomeMessages)

	event := stream.Await(t, "device-pending")
	assert.Equal(t, alice.DID, event.User)
	assert.Equal(t, laptop.ID, event.DeviceID)
	for _, u := range []*e2e.User{alice, bob} {
		pending := u.Pending(t, first)
		require.Len(t, pending, 1)
		assert.Equal(t, mlsapi.GetConvosPendingRequestKind("device"), pending[0].Kind)
		assert.Equal(t, alice.DID, pending[0].UserDID)
		assert.Equal(t, laptop.ID, *pending[0].DeviceID)
		assert.Equal(t, event.RequestID, pending[0].RequestID)
	}
	// A claim for the pending device leaves the other device's packages alone.
	packages := alice.ClaimDevice(t, laptop)
	require.Len(t, packages, 1)
	assert.Equal(t, laptop.ID, *packages[0].DeviceID)
	added := alice.AddPackages(t, first, packages, alice.DID)

	view := bob.Convo(t, first)
	assert.Equal(t, sorted(phone.ID, laptop.ID), devicesOf(view, alice))
	for i := range view.Members {
		assert.Equal(t, view.Members[i].UserDID == alice.DID, view.Members[i].IsAdmin, "the admin role covers all devices")
	}
	assert.Empty(t, view.PendingRequests)
	assert.Len(t, alice.Pending(t, second), 1, "the other conversation still waits")

	got, a := alice.Welcome(t, first, laptop.ID)
	a.OK(t)
	assert.Equal(t, *added.WelcomeMessage, got.Welcome)
	_, a = alice.Welcome(t, first, phone.ID)
	a.Want(t, http.StatusNotFound, "WelcomeNotFound")
	_, a = bob.Welcome(t, first, bobPhone.ID)
	a.OK(t)
	assert.True(t, laptop.Confirm(t, first, true))
	assert.False(t, laptop.Confirm(t, first, true), "there is nothing left to confirm")
	_, a = bob.Welcome(t, first, bobPhone.ID)
	a.OK(t)
}

// One commit adds two waiting devices of a user, and each gets the Welcome; any member may send it.
func TestOneCommitAddsTwoDevices(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	phone := alice.Register(t, 2)
	bob.Register(t, 2)
	chat := alice.Create(t, bob)
	laptop, tablet := alice.Register(t, 2), alice.Register(t, 2)
	require.Len(t, bob.Pending(t, chat), 2)
	packages := append(bob.ClaimDevice(t, laptop), bob.ClaimDevice(t, tablet)...)
	in := bob.AddPackages(t, chat, packages, alice.DID)
	assert.Empty(t, bob.Pending(t, chat))
	assert.Equal(t, sorted(phone.ID, laptop.ID, tablet.ID), devicesOf(bob.Convo(t, chat), alice))
	for _, d := range []*e2e.Device{laptop, tablet} {
		got, a := alice.Welcome(t, chat, d.ID)
		a.OK(t)
		assert.Equal(t, *in.WelcomeMessage, got.Welcome)
		assert.True(t, d.Confirm(t, chat, true))
	}
	// What was said before a device came is not served to a user who was there: all devices read as
	// the user.
	bob.Send(t, chat)
	assert.Len(t, alice.Messages(t, chat).Messages, 2)
	bob.Post(t, mlsapi.MethodAddMembers, bob.Addition(t, chat, alice), nil).Want(t, http.StatusConflict, "AlreadyMember")
}

// A new member's device that the Welcome does not address becomes a request at once.
func TestMissingDeviceOfNewMember(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	alice.Register(t, 2)
	phone, laptop := bob.Register(t, 2), bob.Register(t, 2)
	chat := alice.Create(t)
	alice.AddPackages(t, chat, alice.ClaimDevice(t, phone), bob.DID)
	pending := bob.Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, laptop.ID, *pending[0].DeviceID)
	// bob's own phone adds the laptop.
	bob.AddPackages(t, chat, bob.ClaimDevice(t, laptop), bob.DID)
	assert.Empty(t, bob.Pending(t, chat))
	assert.Equal(t, sorted(phone.ID, laptop.ID), devicesOf(alice.Convo(t, chat), bob))
	_, a := bob.Welcome(t, chat, laptop.ID)
	a.OK(t)
	out := laptop.RegisterAgain(t, 1)
	require.Len(t, out.WelcomeMessages, 1, "a registration hands out the Welcomes that wait")
	assert.Equal(t, chat.ID, out.WelcomeMessages[0].ConvoID)
	assert.Empty(t, out.AutoJoinedConvos)
}

// Registering the same key again is the same device, opens nothing twice, and adds the packages.
func TestRegisterAgain(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	alice.Register(t, 1)
	bob.Register(t, 1)
	chat := alice.Create(t, bob)
	laptop := alice.Register(t, 2)
	id, request := laptop.ID, bob.Pending(t, chat)[0].RequestID
	for range 3 {
		out := laptop.RegisterAgain(t, 2)
		assert.Equal(t, id, out.DeviceID)
		assert.Equal(t, []string{chat.ID}, out.AutoJoinedConvos)
	}
	pending := bob.Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, request, pending[0].RequestID)
	var stats mlsapi.GetKeyPackageStatsOutput
	alice.Get(t, mlsapi.MethodGetKeyPackageStats, &stats, "did", string(alice.DID)).OK(t)
	assert.Equal(t, int64(9), stats.Available, "one of the phone's, eight of the laptop's")

	stolen := &e2e.Device{User: bob, Client: laptop.Client}
	stolen.Client.DID = bob.DID
	bob.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
		DeviceName: "copy", SignaturePublicKey: laptop.Client.SignatureKey, KeyPackages: stolen.KeyPackages(1),
	}, nil).Want(t, http.StatusConflict, "DuplicatePublicKey")
}

// Two members who answer the same request race; one commit wins, the device is in the group once.
func TestRequestFulfilledOnce(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0], users[1]
	alice.Register(t, 1)
	bob.Register(t, 1)
	chat := alice.Create(t, bob)
	laptop := alice.Register(t, 4)
	first := e2e.AdditionOf(chat, alice.ClaimDevice(t, laptop), alice.DID)
	second := e2e.AdditionOf(chat, bob.ClaimDevice(t, laptop), alice.DID)
	answers := make(chan e2e.Answer, 2)
	go func() { answers <- alice.Post(t, mlsapi.MethodAddMembers, first, nil) }()
	go func() { answers <- bob.Post(t, mlsapi.MethodAddMembers, second, nil) }()
	statuses := []int{(<-answers).Status, (<-answers).Status}
	slices.Sort(statuses)
	assert.Equal(t, []int{http.StatusOK, http.StatusConflict}, statuses)
	assert.Len(t, devicesOf(bob.Convo(t, chat), alice), 2)
	assert.Equal(t, int64(chat.Group.Epoch)+1, bob.Epoch(t, chat))
	assert.Empty(t, bob.Pending(t, chat))
}

// The cap on devices counts those of one user.
func TestTooManyDevices(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice := s.Users(1)[0]
	for range 10 {
		alice.Register(t, 1)
	}
	eleventh := &e2e.Device{User: alice, Client: newClient(alice)}
	a := alice.Post(t, mlsapi.MethodRegisterDevice, &mlsapi.RegisterDeviceInput{
		DeviceName: "one too many", SignaturePublicKey: eleventh.Client.SignatureKey, KeyPackages: eleventh.KeyPackages(1),
	}, nil)
	assert.Equal(t, "TooManyDevices", a.Error)
	assert.Equal(t, 400, a.Status/100*100)
}
