package e2e_test

import (
	"net/http"
	"testing"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// refuseInvitations: who has declined is left alone, however it is asked.
func refuseInvitations(t *testing.T) {
	t.Helper()
	alice, bob, chat := couple(t)
	carol := alice.Server.Users(1)[0].Register(t, 4)
	carol.Leave(t, alice.Invite(t, carol.User), nil).OK(t)
	_, in := alice.Invitation(t, carol.User)
	for _, a := range []e2e.Answer{
		alice.Post(t, mlsapi.MethodCreateConvo, in, nil),
		alice.Post(t, mlsapi.MethodAddMembers, alice.Addition(t, chat, carol.User), nil),
	} {
		a.Want(t, http.StatusTooManyRequests, "TooManyInvitations")
		if a.Header.Get("Retry-After") == "" {
			t.Errorf("%s does not say when to try again", a.Message)
		}
	}
	// It is alice who waits.
	bob.Post(t, mlsapi.MethodAddMembers, bob.Addition(t, chat, carol.User), nil).OK(t)
}
