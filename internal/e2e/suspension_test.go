package e2e_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

const taken = "AccountTakedown"

// Every server refuses a suspended account whatever it calls, ends its streams wherever they are
// and hands nothing out of it, and serves it again once it is restored.
func TestSuspendedAccount(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 2, e2e.Env{"STREAMS_PER_USER": "8"})
	s := c.servers[0]
	users := s.Users(3)
	alice, bob, carol := users[0].Register(t, 4), users[1].Register(t, 4), users[2].Register(t, 4)
	chat := alice.Create(t, bob.User)
	carol.Claim(t, alice.DID)
	streams := []*e2e.Stream{c.at(alice.User, 0).Follow(t, ""), c.at(alice.User, 1).Follow(t, ""), c.at(alice.User, 1).Follow(t, "convoId="+chat.ID)}
	others := c.at(bob.User, 1).Follow(t, "")

	assert.Contains(t, s.Operate(t, "suspend-user", "--reason", "spam", string(alice.DID)), "suspended")
	for _, stream := range streams {
		stream.Await(t, "reauthenticate")
	}
	for i := range c.servers {
		eventually(t, "the account is refused", func() bool {
			return c.at(alice.User, i).Get(t, mlsapi.MethodGetConvos, nil).Error == taken
		})
		for _, m := range mlsapi.Methods() {
			if m.Open {
				continue
			}
			a := c.at(alice.User, i).Peek(t, m, e2e.Request{Body: bodyFor(m)})
			a.Want(t, http.StatusUnauthorized, taken)
			assert.NotEmpty(t, a.Header.Get("RateLimit-Limit"), "a flood of them is told to stop")
		}
		var out mlsapi.GetKeyPackagesOutput
		c.at(carol.User, i).Get(t, mlsapi.MethodGetKeyPackages, &out, "dids", string(alice.DID)).OK(t)
		assert.Empty(t, out.KeyPackages)
		assert.Equal(t, []lexrt.DID{alice.DID}, out.Missing)
	}
	alice.Server.Operate(t, "suspend-user", string(alice.DID))
	bob.Send(t, chat)
	others.Await(t, "message")
	for _, stream := range streams {
		assert.NotContains(t, stream.Kinds(), "message")
	}
	assert.Contains(t, s.Operate(t, "list-suspended"), string(alice.DID)+"  suspended")

	assert.Contains(t, s.Operate(t, "restore-user", string(alice.DID)), "served again")
	assert.Contains(t, s.Operate(t, "restore-user", string(alice.DID)), "is not suspended")
	for i := range c.servers {
		eventually(t, "the account is served again", func() bool {
			return c.at(alice.User, i).Get(t, mlsapi.MethodGetConvos, nil).Status == http.StatusOK
		})
	}
	assert.Len(t, alice.Messages(t, chat).Messages, 1, "nothing is lost to it")
	assert.NotEmpty(t, c.at(carol.User, 1).Claim(t, alice.DID))
	assert.Empty(t, s.Operate(t, "list-suspended"))
	assert.Equal(t, [][]string{{"suspend", string(alice.DID), "spam"}, {"restore", string(alice.DID), "<nil>"}},
		rowsOf(t, s, "SELECT action, user_did, reason FROM operator_actions ORDER BY id"))
}

// A takedown does not wait for the requests of others: states of accounts are read over a
// connection of their own.
func TestTakedownBesideABusyPool(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t, e2e.Env{"DATABASE_MAX_CONNS": "2"})
	users := s.Users(3)
	alice, bob := users[0].Register(t, 4), users[1].Register(t, 4)
	chat := bob.Create(t, users[2].Register(t, 4).User)
	stream := alice.Follow(t, "")
	tx, err := pgtest.Open(t, s.DatabaseURL).Begin(t.Context())
	require.NoError(t, err)
	// It is over by then, unless this test fails.
	t.Cleanup(func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) })
	_, err = tx.Exec(t.Context(), "SELECT FROM conversations FOR UPDATE")
	require.NoError(t, err)
	// Each waits for five seconds, two at a time; whatever asks for a connection now is behind
	// them.
	const crowd = 12
	answered := make(chan e2e.Answer, crowd)
	var work sync.WaitGroup
	for range crowd {
		work.Go(func() { answered <- bob.Leave(t, chat, nil) })
	}
	connections := func(what string) string {
		return rowsOf(t, s, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND "+what)[0][0]
	}
	eventually(t, "both of its connections wait", func() bool { return connections("wait_event_type = 'Lock'") == "2" })
	s.Operate(t, "suspend-user", string(alice.DID))
	stream.Await(t, "reauthenticate")
	alice.Get(t, mlsapi.MethodGetConvos, nil).Want(t, http.StatusUnauthorized, taken)
	assert.Less(t, len(answered), crowd/2, "the takedown has waited for the others")
	eventually(t, "it has one connection more than its pool", func() bool { return connections("application_name = 'mls-server'") == "3" })
	require.NoError(t, tx.Rollback(t.Context()))
	work.Wait()
}

// bodyFor is an empty body where a method takes one.
func bodyFor(m *lexrt.Method) []byte {
	if m.Input == "" {
		return nil
	}
	return []byte("{}")
}
