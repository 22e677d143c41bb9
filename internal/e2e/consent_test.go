package e2e_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
)

// TestUnwillingLookLikeOthers: who claims, creates a conversation or adds members does not learn by
// the answer whether a user blocks it or wants to hear from no stranger.
func TestUnwillingLookLikeOthers(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(5)
	alice, bob, quiet, blocks := users[0].Register(t, 4), users[1].Register(t, 4), users[2].Register(t, 4), users[3].Register(t, 4)
	empty := users[4].Register(t, 0)
	s.Blocks.Declare(quiet.DID, "none")
	s.Blocks.Block(blocks.DID, alice.DID)
	chat := alice.Create(t, bob.User)
	var answers [][]string
	for _, u := range []*e2e.Device{quiet, blocks, empty} {
		var claimed mlsapi.GetKeyPackagesOutput
		alice.Get(t, mlsapi.MethodGetKeyPackages, &claimed, "dids", string(u.DID)).OK(t)
		assert.Empty(t, claimed.KeyPackages)
		assert.Equal(t, []mls.DID{u.DID}, claimed.Missing)
		if u == empty {
			continue // whom nobody keeps from an invitation without a Welcome
		}
		create := alice.Post(t, mlsapi.MethodCreateConvo, &mlsapi.CreateConvoInput{
			GroupID: hexOf(16), IdempotencyKey: e2e.Key(), CipherSuite: mlsapi.CreateConvoInputCipherSuite(mls.SuiteX25519AES128.String()),
			InitialMembers: []mls.DID{u.DID},
		}, nil).Want(t, http.StatusForbidden, "MutualBlockDetected")
		add := alice.Post(t, mlsapi.MethodAddMembers, e2e.AdditionOf(chat, bob.Claim(t, bob.DID), u.DID), nil).Want(t, http.StatusForbidden, "BlockedByMember")
		answers = append(answers, []string{string(create.Body), string(add.Body)})
	}
	assert.Equal(t, answers[0], answers[1])

	// It is about strangers: who has accepted one conversation is added to others, and claimed
	// from.
	both := quiet.Create(t, alice.User)
	quiet.Send(t, both)
	alice.Add(t, chat, quiet.User)
	require.Len(t, alice.Claim(t, quiet.DID), 1)
}

// The operator chooses for those who say nothing, and whether anybody is asked.
func TestConsentOfTheSilent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, declared string
		env            e2e.Env
		want           string
	}{
		{"by default", "", nil, ""},
		{"none", "", e2e.Env{"CONSENT_DEFAULT": "none"}, "MutualBlockDetected"},
		{"nobody is asked", "none", e2e.Env{"CONSENT_SOURCE": "off", "CONSENT_DEFAULT": "none"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := e2e.Start(t, c.env)
			users := s.Users(2)
			s.Blocks.Declare(users[1].DID, c.declared)
			_, in := users[0].Invitation(t)
			in.InitialMembers = []mls.DID{users[1].DID}
			assert.Equal(t, c.want, users[0].Post(t, mlsapi.MethodCreateConvo, in, nil).Error)
		})
	}
}

// Whose key package it is, strangers learn; of which device, those who share a conversation.
func TestDevicesOfClaimsAreWithheld(t *testing.T) {
	t.Parallel()
	users := e2e.Start(t).Users(2)
	alice, bob := users[0].Register(t, 2), users[1].Register(t, 6)
	claimed := alice.Claim(t, bob.DID)
	require.Len(t, claimed, 1)
	assert.Nil(t, claimed[0].DeviceID)
	assert.Equal(t, bob.DID, claimed[0].DID)
	chat := alice.Invite(t, bob.User)
	assert.Nil(t, alice.Claim(t, bob.DID)[0].DeviceID, "an invitation tells nothing")
	bob.Accept(t, chat).OK(t)
	assert.Equal(t, bob.ID, *alice.Claim(t, bob.DID)[0].DeviceID)
	assert.Equal(t, bob.ID, *bob.Claim(t, bob.DID)[0].DeviceID)
}

// What an invited user owes by a device that it has deleted is withheld until it accepts, also of
// an invitation of before invitations were counted.
func TestWithheldDebtsAreShown(t *testing.T) {
	t.Parallel()
	for _, counted := range []bool{true, false} {
		t.Run(fmt.Sprintf("counted: %v", counted), func(t *testing.T) {
			t.Parallel()
			alice, _, carol, chat := invitation(t)
			if !counted {
				forgetInvitations(t, alice.Server)
			}
			tablet := carol.User.Register(t, 2)
			bundle := e2e.AdditionOf(chat, alice.Claim(t, carol.DID), carol.DID)
			alice.Post(t, mlsapi.MethodAddMembers, bundle, nil).OK(t)
			chat.Next()
			carol.User.Delete(t, tablet, nil).OK(t)
			pending := alice.Pending(t, chat)
			require.Len(t, pending, 1)
			assert.Equal(t, []any{"removal", true}, []any{string(pending[0].Kind), pending[0].DeviceID == nil})
			carol.Accept(t, chat).OK(t)
			pending = alice.Pending(t, chat)
			require.Len(t, pending, 1)
			require.NotNil(t, pending[0].DeviceID)
			assert.Equal(t, []any{"removal", tablet.ID}, []any{string(pending[0].Kind), *pending[0].DeviceID})
		})
	}
}

// forgetInvitations leaves invited users without what counts invitations, as they were before that
// was.
func forgetInvitations(t *testing.T, s *e2e.Server) {
	t.Helper()
	_, err := pgtest.Open(t, s.DatabaseURL).Exec(t.Context(), "DELETE FROM invitations")
	require.NoError(t, err)
}

// Whose invitation is taken back with the commit that has made it is told so, and the members are.
func TestInvitationsAreTakenBackWithTheirCommit(t *testing.T) {
	t.Parallel()
	for _, counted := range []bool{true, false} {
		t.Run(fmt.Sprintf("counted: %v", counted), func(t *testing.T) {
			t.Parallel()
			alice, bob, _, chat := invitation(t)
			dave := alice.Server.Users(1)[0].Register(t, 4)
			told, members := dave.Follow(t, ""), bob.Follow(t, "")
			alice.Post(t, mlsapi.MethodAddMembers, alice.Addition(t, chat, dave.User), nil).OK(t)
			if !counted {
				forgetInvitations(t, alice.Server)
			}
			require.True(t, reports(t, bob, chat, chat.Group.Epoch, ""))
			assert.Empty(t, dave.Invitations(t))
			kinds := func(u *e2e.Device, s *e2e.Stream) (kinds []string) {
				t.Helper()
				own := u.Create(t)
				end := u.Send(t, own)
				s.AwaitWhere(t, "message", func(e e2e.Event) bool { return e.MessageID == end.MessageID })
				for _, e := range about(s, dave.DID) {
					if e.ConvoID == chat.ID {
						kinds = append(kinds, e.Kind)
					}
				}
				return kinds
			}
			assert.Equal(t, []string{"invitation", "invitation"}, kinds(dave, told))
			assert.Equal(t, []string{"membership-changed", "membership-changed"}, kinds(bob, members))
		})
	}
}
