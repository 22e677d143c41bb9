package auth_test

import (
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/lexrt"
)

// silentPort is a port on loopback that fails the test when anybody connects to it.
func silentPort(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	var touched atomic.Bool
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			touched.Store(true)
			_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		<-done
		if touched.Load() {
			t.Error("a forbidden address was dialled")
		}
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Whatever host an issuer claims to live on, nothing inside is dialled for it.
func TestIssuersCannotMakeTheServerDialInside(t *testing.T) {
	t.Parallel()
	port := silentPort(t)
	e := newEnv(t)
	id := e.dir.NewIdentity(authtest.K256)
	for _, host := range []string{
		"127.0.0.1", "localhost", "localhost.", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "%5B%3A%3A1%5D",
		"%5B%3A%3Affff%3A127.0.0.1%5D", "%31%32%37.0.0.1", "127%2E0%2E0%2E1", "user%40127.0.0.1", "a.example%2F..%2F..%2F127.0.0.1",
		"a.example%3F", "a.example%23", "127.0.0.1:x", "a.example%5C127.0.0.1",
	} {
		for _, suffix := range []string{"", "%3A" + port, ":" + port} {
			iss := "did:web:" + host + suffix
			got := e.call(t, standard, id.Bearer(serviceDID, standard.NSID, authtest.Claim("iss", iss)))
			if got != auth.NameUnresolvedDid && got != auth.NameBadJwtIss {
				t.Errorf("%s: %q", iss, got)
			}
		}
	}
}

// A PLC directory that was taken over cannot send the server elsewhere either.
func TestPLCRedirectsAreNotFollowedElsewhere(t *testing.T) {
	t.Parallel()
	port := silentPort(t)
	for _, to := range []string{"http://127.0.0.1:" + port + "/", "http://localhost:" + port + "/", "https://[::1]:" + port + "/", "//localhost:" + port + "/x"} {
		plc := newServer(t, redirectTo(to))
		client, err := egress.New(egress.Config{Allow: []string{plc}})
		if err != nil {
			t.Fatal(err)
		}
		r := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: "http://" + plc, Clock: clock.System})
		if _, err := r.Resolve(t.Context(), lexrt.DID("did:plc:"+strings.Repeat("a", 24))); err == nil {
			t.Errorf("redirect to %s gave an identity", to)
		}
	}
}
