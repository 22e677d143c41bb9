package blocks_test

import (
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/blocks"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
)

func TestAccountsThatAreGoneBlockNobody(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	s := e.service(nil, true)
	u := e.users(6)
	e.network.Block(u[0], u[1])
	e.network.Block(u[1], u[0])
	e.network.SetGone(u[0], "RepoDeactivated")
	noPDS := e.dir.NewIdentity(authtest.K256)
	noPDS.SetPDS("")
	unknown := e.dir.NewIdentity(authtest.K256) // the PDS does not know it
	unknown.SetPDS(e.network.URL())
	a := between(t, s, u[1], []mls.DID{u[0], u[1], noPDS.DID, unknown.DID, "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"})
	if len(a.Blocks) != 1 || a.Blocks[0].Blocker != u[1] {
		t.Errorf("%+v", a)
	}
}

// A server that lies about its accounts, loops, or answers with junk harms
// nothing but the answers about its own accounts.
func TestHostileServers(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	victims := e.users(2)
	for name, tc := range map[string]struct {
		body string
		ok   bool // a usable answer without blocks
	}{
		"foreign records": {`{"records":[{"uri":"at://` + string(victims[0]) + `/app.bsky.graph.block/3aaaaaaaaaaaa","value":{"subject":"` + string(victims[1]) + `"}}]}`, true},
		"no records":      {`{}`, true},
		"an endless list": {`{"cursor":"x","records":[{"uri":"x","value":{}}]}`, false},
		"not JSON":        {`<html>`, false},
		"too much":        {`{"records":[],"pad":"` + strings.Repeat("x", 300<<10) + `"}`, false},
		"wrong shape":     {`{"records":{}}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte(tc.body))
			}))
			t.Cleanup(bad.Close)
			client, err := egress.New(egress.Config{Allow: append(e.dir.HostPorts(), e.network.HostPort(), strings.TrimPrefix(bad.URL, "http://"))})
			if err != nil {
				t.Fatal(err)
			}
			resolver := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: e.dir.URL(), Clock: e.clock})
			pds := blocks.NewPDS(client, resolver, e.clock)
			s := blocks.New(blocks.Config{Cache: e.store, PDS: pds, Observe: func(string) {}, Clock: e.clock})
			id := e.dir.NewIdentity(authtest.K256)
			id.SetPDS(bad.URL)
			a, err := s.Between(t.Context(), victims[0], []mls.DID{id.DID, victims[0], victims[1]})
			if (err == nil) != tc.ok || len(a.Blocks) != 0 {
				t.Errorf("%v, %v", a, err)
			}
			if a, err := s.Between(t.Context(), victims[0], victims); err != nil || len(a.Blocks) != 0 {
				t.Errorf("others: %v, %v", a, err)
			}
		})
	}
}

// Accounts name their servers themselves; none of these may be dialled.
func TestAccountsCannotMakeTheServerDialInside(t *testing.T) {
	t.Parallel()
	var touched atomic.Bool
	inside := httptest.NewUnstartedServer(http.NotFoundHandler())
	inside.Config.ConnState = func(net.Conn, http.ConnState) { touched.Store(true) }
	inside.Start()
	t.Cleanup(inside.Close)
	_, port, _ := strings.Cut(strings.TrimPrefix(inside.URL, "http://"), ":")
	e := newEnv(t)
	s := e.service(nil, true)
	honest := e.users(1)[0]
	for _, host := range []string{"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "127.0.0.1."} {
		for _, scheme := range []string{"https", "http"} {
			id := e.dir.NewIdentity(authtest.K256)
			id.SetPDS(scheme + "://" + host + ":" + port)
			if _, err := s.Between(t.Context(), honest, []mls.DID{id.DID, honest}); !errors.Is(err, mls.ErrBlockSourceUnavailable) {
				t.Errorf("%s://%s: %v", scheme, host, err)
			}
			claim := blocks.Claim{Blocker: id.DID, Blocked: honest, Exists: true}
			if err := s.Verify(t.Context(), claim); !errors.Is(err, mls.ErrBlockSourceUnavailable) {
				t.Errorf("verify at %s://%s: %v", scheme, host, err)
			}
		}
	}
	if touched.Load() {
		t.Error("a forbidden address was dialled")
	}
}
