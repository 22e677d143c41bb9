package e2e_test

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

// pair is a conversation of two users with a device each.
func pair(t *testing.T, s *e2e.Server) (alice, bob *e2e.Device, chat *e2e.Chat) {
	t.Helper()
	users := s.Users(2)
	alice, bob = users[0].Register(t, 8), users[1].Register(t, 8)
	return alice, bob, alice.Create(t, bob.User)
}

// answer re-adds a device with the package that its request has brought.
func answer(t *testing.T, member *e2e.User, chat *e2e.Chat, d *e2e.Device, request string) *mlsapi.AddMembersInput {
	t.Helper()
	reserved := member.ClaimRequest(t, request, d.DID)
	require.Len(t, reserved.KeyPackages, 1)
	return member.AddPackages(t, chat, reserved.KeyPackages, d.DID)
}

// The whole life of a rejoin: request, package, commit, Welcome, confirmation.
func TestRejoin(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	require.True(t, bob.Confirm(t, chat, true))
	backdateConfirmations(t, s)
	before := alice.Send(t, chat)
	stream := alice.Follow(t, "")

	request := bob.Rejoin(t, chat)
	assert.True(t, request.Pending)
	assert.NotEmpty(t, request.RequestID)
	for range 3 {
		assert.Equal(t, request.RequestID, bob.Rejoin(t, chat).RequestID, "an open request is returned again")
	}
	event := stream.Await(t, "rejoin-requested")
	assert.Equal(t, request.RequestID, event.RequestID)
	assert.Equal(t, bob.DID, event.User)
	pending := alice.Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, mlsapi.GetConvosPendingRequestKind("rejoin"), pending[0].Kind)
	assert.Equal(t, request.RequestID, pending[0].RequestID)

	// The package is for members of this conversation, and for nobody else.
	stranger := s.Users(1)[0]
	none := stranger.ClaimRequest(t, request.RequestID, bob.DID)
	assert.Empty(t, none.KeyPackages)
	assert.Len(t, none.Missing, 1)

	in := answer(t, alice.User, chat, bob, request.RequestID)
	assert.Empty(t, alice.Pending(t, chat))
	got, a := bob.Welcome(t, chat, bob.ID)
	a.OK(t)
	assert.Equal(t, *in.WelcomeMessage, got.Welcome)
	assert.True(t, bob.Confirm(t, chat, true))
	_, a = bob.Welcome(t, chat, bob.ID)
	a.Want(t, http.StatusNotFound, "WelcomeNotFound")
	// A rejoin loses no history on the server.
	assert.Equal(t, before.MessageID, bob.Messages(t, chat).Messages[0].ID)
	assert.Empty(t, alice.ClaimRequest(t, request.RequestID, bob.DID).KeyPackages, "the package is used up")

	a = bob.Post(t, mlsapi.MethodRequestRejoin, bob.RejoinInput(chat), nil).Want(t, http.StatusConflict, "AlreadyMember")
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	require.NoError(t, err)
	assert.InDelta(t, 20, seconds, 12, "it is not refused for ever")
	assert.Contains(t, a.Message, "try again in "+strconv.Itoa(seconds)+" s")
	backdateConfirmations(t, s)
	assert.NotEqual(t, request.RequestID, bob.Rejoin(t, chat).RequestID)
}

// backdateConfirmations lets a minute pass for all confirmed Welcomes.
func backdateConfirmations(t *testing.T, s *e2e.Server) {
	t.Helper()
	_, err := pgtest.Open(t, s.DatabaseURL).Exec(t.Context(), "UPDATE welcome_routes SET confirmed_at = confirmed_at - interval '1 minute' WHERE confirmed_at IS NOT NULL")
	require.NoError(t, err)
}

// The fourth request within an hour is refused with a time to wait.
func TestRejoinLimit(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	for range 3 {
		answer(t, alice.User, chat, bob, bob.Rejoin(t, chat).RequestID)
	}
	a := bob.Post(t, mlsapi.MethodRequestRejoin, bob.RejoinInput(chat), nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	require.NoError(t, err)
	assert.InDelta(t, 3600, seconds, 120)
	assert.Contains(t, a.Message, strconv.Itoa(seconds), "a proxy drops headers, so the message says it too")

	// The limit is the user's in this conversation, no other's.
	other := alice.Create(t, bob.User)
	answer(t, alice.User, other, bob, bob.Rejoin(t, other).RequestID)
	_, err = pgtest.Open(t, s.DatabaseURL).Exec(t.Context(), "UPDATE pending_welcomes SET created_at = created_at - interval '1 hour'")
	require.NoError(t, err)
	bob.Rejoin(t, chat)
}

// Who was kicked, who left and who was never there cannot ask.
func TestRejoinOfOutsiders(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	carol, stranger := s.NewUser(authtest.K256).Register(t, 2), s.NewUser(authtest.P256).Register(t, 2)
	alice.Add(t, chat, carol.User)
	carol.Rejoin(t, chat) // open when its user is taken out
	alice.Remove(t, chat, carol.User, nil).OK(t)
	for _, d := range []*e2e.Device{carol, stranger} {
		d.Post(t, mlsapi.MethodRequestRejoin, d.RejoinInput(chat), nil).Want(t, http.StatusNotFound, "ConvoNotFound")
	}
	for _, r := range bob.Pending(t, chat) {
		assert.Equal(t, mlsapi.GetConvosPendingRequestKind("removal"), r.Kind, "a removed user's requests end with the membership")
	}
	missing := &e2e.Chat{ID: "3jzfcijpj2z2a", Group: chat.Group}
	unknown := bob.Post(t, mlsapi.MethodRequestRejoin, bob.RejoinInput(missing), nil).Want(t, http.StatusNotFound, "ConvoNotFound")
	foreign := stranger.Post(t, mlsapi.MethodRequestRejoin, stranger.RejoinInput(chat), nil)
	assert.JSONEq(t, string(unknown.Body), string(foreign.Body))
}

// A Welcome that cannot be read opens a rejoin by itself; the device then brings the package that
// it lacks.
func TestFailedWelcomeOpensRejoin(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	stream := alice.Follow(t, "")
	assert.True(t, bob.Confirm(t, chat, false))
	event := stream.Await(t, "rejoin-requested")
	assert.Equal(t, bob.ID, event.DeviceID)
	pending := alice.Pending(t, chat)
	require.Len(t, pending, 1)
	assert.Equal(t, event.RequestID, pending[0].RequestID)
	assert.Empty(t, alice.ClaimRequest(t, event.RequestID, bob.DID).KeyPackages)
	assert.True(t, bob.Confirm(t, chat, false), "the Welcome still waits")
	assert.Len(t, alice.Pending(t, chat), 1)

	request := bob.Rejoin(t, chat)
	assert.Equal(t, event.RequestID, request.RequestID)
	answer(t, alice.User, chat, bob, request.RequestID)
	assert.True(t, bob.Confirm(t, chat, true))
	assert.Empty(t, alice.Pending(t, chat))
}

// A failed Welcome asks for a rejoin like any other request: beyond three an hour it is noted and
// nobody is asked, whoever adds the device again by itself.
func TestFailuresCountAsRejoins(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	alice, bob, chat := pair(t, s)
	toAlice := alice.Follow(t, "")
	for round := range 3 {
		assert.True(t, bob.Confirm(t, chat, false))
		pending := alice.Pending(t, chat)
		require.Len(t, pending, 1, "round %d", round)
		bob.Rejoin(t, chat) // brings a package
		answer(t, alice.User, chat, bob, pending[0].RequestID)
	}
	assert.True(t, bob.Confirm(t, chat, false), "the failure is noted")
	assert.Empty(t, alice.Pending(t, chat))
	bob.Post(t, mlsapi.MethodRequestRejoin, bob.RejoinInput(chat), nil).Want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	asked := 0
	last := alice.Send(t, chat).MessageID
	toAlice.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == last })
	for _, kind := range toAlice.Kinds() {
		if kind == "rejoin-requested" {
			asked++
		}
	}
	assert.Equal(t, 3, asked)

	// When the hour is over the device may ask again, by either way.
	_, err := pgtest.Open(t, s.DatabaseURL).Exec(t.Context(), "UPDATE pending_welcomes SET created_at = created_at - interval '1 hour'")
	require.NoError(t, err)
	assert.True(t, bob.Confirm(t, chat, false))
	assert.Len(t, alice.Pending(t, chat), 1)
}

// The reserved package is handed out to nobody who asks for the user's packages.
func TestReservedPackageIsNotClaimed(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, bob.User)
	request := bob.Rejoin(t, chat)
	assert.Empty(t, alice.Claim(t, bob.DID))
	// Nor can it be used in another conversation.
	reserved := alice.ClaimRequest(t, request.RequestID, bob.DID).KeyPackages
	other := alice.Create(t)
	alice.Post(t, mlsapi.MethodAddMembers, e2e.AdditionOf(other, reserved, bob.DID), nil).Want(t, http.StatusConflict, "KeyPackageNotFound")
	alice.AddPackages(t, chat, reserved, bob.DID)
}
