//go:build pds

package pds_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
)

// Accounts that are deactivated, taken down or deleted, as a real PDS shows them: what the PDS
// still does for them, and what the server does when the Jetstream has told it.
func TestClosedAccounts(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, n *network) {
		s := serve(t, n, didPLC, e2e.Env{"JETSTREAM_URL": n.Jetstream})
		bob := signUp(t, n, s)
		get := mlsapi.MethodGetConvos
		for _, c := range []struct {
			name        string
			close, open func(a *account)
			// what we answer, and its PDS before it asks us; "" for a fault of its own
			answer, host string
		}{
			{
				"deactivated",
				func(a *account) {
					n.procedure(t, "com.atproto.server.deactivateAccount", a.bearer(), map[string]any{}).ok(t, nil)
				},
				func(a *account) {
					n.procedure(t, "com.atproto.server.activateAccount", a.bearer(), nil).ok(t, nil)
				},
				"AccountDeactivated", "AccountDeactivated",
			},
			{"taken down", func(a *account) { a.takeDown(t, true) }, func(a *account) { a.takeDown(t, false) }, "AccountTakedown", "AccountTakedown"},
			{
				"deleted",
				func(a *account) {
					n.procedure(t, "com.atproto.admin.deleteAccount", n.Admin, map[string]any{"did": a.DID}).ok(t, nil)
				}, nil,
				"AccountDeactivated", "",
			},
		} {
			alice := signUp(t, n, s)
			alice.Register(t, 5)
			// Tokens that were made before outlive what their host thinks of the account.
			tokens := make([]string, 2)
			for i := range tokens {
				tokens[i] = alice.token(t, get.NSID)
			}
			stream := alice.direct(t).Follow(t, "")
			c.close(alice)
			stream.Await(t, "reauthenticate")
			old := &e2e.User{Identity: alice.Identity, Server: s}
			old.Call(t, get, e2e.Request{Authorization: "Bearer " + tokens[0]}, nil).Want(t, http.StatusUnauthorized, c.answer)
			var claimed mlsapi.GetKeyPackagesOutput
			bob.Get(t, mlsapi.MethodGetKeyPackages, &claimed, "dids", string(alice.DID)).OK(t)
			assert.Empty(t, claimed.KeyPackages, c.name)
			a := alice.Get(t, get, nil)
			assert.NotEqual(t, http.StatusOK, a.Status, c.name)
			if c.host != "" {
				a.Want(t, http.StatusUnauthorized, c.host)
			}
			if c.open == nil {
				continue
			}
			c.open(alice)
			eventually(t, c.name+" and back", func() bool { return alice.Get(t, get, nil).Status == http.StatusOK })
			bob.Get(t, mlsapi.MethodGetKeyPackages, &claimed, "dids", string(alice.DID)).OK(t)
			assert.Len(t, claimed.KeyPackages, 1, c.name)
		}
	})
}

// takeDown has the operator of the PDS take the account down, or give it back.
func (a *account) takeDown(tb testing.TB, down bool) {
	tb.Helper()
	a.n.procedure(tb, "com.atproto.admin.updateSubjectStatus", a.n.Admin, map[string]any{
		"subject":  map[string]any{"$type": "com.atproto.admin.defs#repoRef", "did": a.DID},
		"takedown": map[string]any{"applied": down},
	}).ok(tb, nil)
}
