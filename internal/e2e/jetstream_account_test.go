package e2e_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

// What hosts say of accounts on the Jetstream holds on every server: who is taken down or gone is
// refused, and who is back is served, however often and in which order it is told.
func TestJetstreamAccounts(t *testing.T) {
	t.Parallel()
	j := newJetstream(t)
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	env := e2e.Env{"JETSTREAM_URL": "ws://" + j.hostPort() + "/subscribe"}
	start := func() *e2e.Server {
		t.Helper()
		s := e2e.StartOn(t, db, dir, env, e2e.Env{"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), j.hostPort()), ","), "APPVIEW_URL": ""})
		return s
	}
	a, b := start(), start()
	c := &cluster{servers: []*e2e.Server{a, b}}
	users := a.Users(4)
	alice, bob := users[0].Register(t, 4), users[1].Register(t, 4)
	get := mlsapi.MethodGetConvos
	now := time.Now()
	// Tokens are as old as the news: newer ones say something.
	want := func(u *e2e.User, name string) {
		t.Helper()
		for i := range c.servers {
			eventually(t, "every server says "+name, func() bool {
				old := u.Bearer(a.DID, get.NSID, authtest.Claim("iat", now.Unix()))
				return c.at(u, i).Call(t, get, e2e.Request{Authorization: old}, nil).Error == name
			})
		}
	}
	streams := []*e2e.Stream{c.at(alice.User, 0).Follow(t, ""), c.at(alice.User, 1).Follow(t, "")}

	for _, status := range []string{"throttled", "desynchronized", "something new"} {
		j.account(t, alice.DID, status, now)
	}
	j.send(t, map[string]any{"did": alice.DID, "time_us": now.UnixMicro(), "kind": "account", "account": map[string]any{"active": false}})
	j.account(t, alice.DID, "takendown", now.Add(-8*24*time.Hour)) // of no stream that remembers it
	j.account(t, users[2].DID, "takendown", now)                   // who has nothing here
	j.account(t, bob.DID, "deactivated", now.Add(-10*time.Second))
	want(bob.User, "AccountDeactivated")
	want(alice.User, "")
	assert.Equal(t, [][]string{{string(bob.DID)}}, rowsOf(t, a, "SELECT user_did FROM account_states"))

	j.account(t, alice.DID, "takendown", now.Add(-8*time.Second))
	want(alice.User, taken)
	for _, stream := range streams {
		stream.Await(t, "reauthenticate")
	}
	var out mlsapi.GetKeyPackagesOutput
	users[3].Get(t, mlsapi.MethodGetKeyPackages, &out, "dids", string(alice.DID), "dids", string(bob.DID)).OK(t)
	assert.Empty(t, out.KeyPackages)
	j.account(t, alice.DID, "", now.Add(-4*time.Second)) // news of the future would count as of now
	want(alice.User, "")

	// A server that comes later is told all of it again, and so are the others by one that lies.
	late := start()
	// So many events say something; a connection that was made again tells them again.
	const told = 4
	eventually(t, "the late server has heard all of it", func() bool {
		return scrape(t, late)[`mls_jetstream_events_total{event="account"}`] >= told
	})
	j.account(t, alice.DID, "takendown", now.Add(-8*time.Second))
	j.account(t, bob.DID, "", now.Add(-time.Minute))
	j.account(t, users[3].DID, "deleted", now.Add(time.Hour)) // counts as now
	users[3].Register(t, 1)
	j.account(t, users[3].DID, "deleted", now.Add(time.Hour))
	want(users[3], "AccountDeactivated")
	want(alice.User, "")
	want(bob.User, "AccountDeactivated")

	// A host makes tokens for an account that is deactivated, by its own hand or the host's; it has
	// none for one that is deleted, so that the news of its return was lost.
	j.account(t, alice.DID, "deleted", now.Add(-2*time.Second))
	want(alice.User, "AccountDeactivated")
	later := func(u *e2e.User) e2e.Answer {
		token := u.Bearer(a.DID, get.NSID, authtest.Claim("iat", now.Add(29*time.Second).Unix()))
		return u.Call(t, get, e2e.Request{Authorization: token}, nil)
	}
	later(bob.User).Want(t, http.StatusUnauthorized, "AccountDeactivated")
	later(alice.User).OK(t)
	want(alice.User, "")
	want(bob.User, "AccountDeactivated")
	for _, u := range []*e2e.User{bob.User, users[3]} {
		a.Operate(t, "restore-user", string(u.DID))
		want(u, "")
	}

	// Where the servers stood is known to one that starts when none runs.
	a.Stop()
	b.Stop()
	late.Stop()
	rows := rowsOf(t, a, "SELECT extract(epoch FROM at)::bigint FROM feed_position")
	require.Len(t, rows, 1)
	j.mu.Lock()
	before := len(j.cursors)
	j.mu.Unlock()
	next := start()
	var cursor string
	eventually(t, "it follows the stream", func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		if len(j.cursors) > before {
			cursor = j.cursors[before]
		}
		return len(j.cursors) > before
	})
	us, err := strconv.ParseInt(cursor, 10, 64)
	require.NoError(t, err)
	at, err := strconv.ParseInt(rows[0][0], 10, 64)
	require.NoError(t, err)
	assert.Equal(t, at-5, us/1_000_000)
	assert.Equal(t, http.StatusOK, (&e2e.User{Identity: alice.Identity, Server: next}).Get(t, get, nil).Status)
}
