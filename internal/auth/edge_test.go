package auth_test

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/ratelimit"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

var figures = flag.Bool("figures", false, "send 100,000 requests over a limit instead of 2,000")

type unobserved struct{}

func (unobserved) ObserveRequest(xrpc.Event)               {}
func (unobserved) ObserveUndeclared(*lexrt.Method, string) {}

// edge is the runtime with everything in front of a handler.
type edge struct {
	url     string
	dir     *authtest.Directory
	id      *authtest.Identity
	replays *auth.MemoryReplays
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	e := &edge{replays: auth.NewMemoryReplays(1_000_000, clock.System), dir: authtest.NewDirectory(t, clock.System)}
	e.id = e.dir.NewIdentity(authtest.P256)
	client, err := egress.New(egress.Config{Allow: e.dir.HostPorts()})
	if err != nil {
		t.Fatal(err)
	}
	limiter, err := ratelimit.NewMemory(map[string]ratelimit.Rate{
		ratelimit.ClassDefault: {PerMinute: 200, Burst: 200}, ratelimit.ClassIP: {PerMinute: 60, Burst: 30}, ratelimit.ClassRefused: {PerMinute: 60, Burst: 30},
	}, clock.System)
	if err != nil {
		t.Fatal(err)
	}
	authenticator, err := auth.New(auth.Config{
		ServiceDID: serviceDID, ServiceID: serviceID, EnforceLXM: true, EnforceJTI: true, JTITTL: 5 * time.Minute,
		Resolver: auth.NewResolver(auth.ResolverConfig{
			Client: client, PLCURL: e.dir.URL(), Clock: clock.System,
			Open: func(address string) bool { return limiter.Peek(ratelimit.ClassIP, address).Allowed },
		}),
		Replays: e.replays, Hasher: newHasher(t), Clock: clock.System,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := xrpc.New(xrpc.Options{
		Authenticator: authenticator, Limiter: limiter, Observer: unobserved{}, Logger: slog.New(slog.DiscardHandler), Clock: clock.System,
		MapError: func(error) *lexrt.Error { return nil },
		ClientIP: func(r *http.Request) string { return r.Header.Get("From") },
	})
	s.Handle(standard, func(context.Context, *lexrt.Request) (lexrt.Response, error) {
		return lexrt.ResponseFunc(func(dst []byte) []byte { return append(dst, "{}"...) }), nil
	})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	e.url = server.URL
	return e
}

// flood sends n requests over 64 connections and counts the answers by status.
func (e *edge) flood(t *testing.T, n int, address string, header func() string) map[int]int {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	left := atomic.Int64{}
	left.Store(int64(n))
	var mu sync.Mutex
	answers := map[int]int{}
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, e.url+"/xrpc/"+standard.NSID, nil)
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Authorization", header())
				r.Header.Set("From", address)
				resp, err := client.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				mu.Lock()
				answers[resp.StatusCode]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return answers
}

// Made-up issuers of one address cost the directory what the address' limit
// allows, and nothing after that.
func TestFakeIssuers(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	start := time.Now()
	answers := e.flood(t, 2000, "192.0.2.1", func() string {
		var raw [15]byte
		_, _ = rand.Read(raw[:])
		did := "did:plc:" + strings.ToLower(base32.StdEncoding.EncodeToString(raw[:]))
		return e.id.Bearer(serviceDID, standard.NSID, authtest.Claim("iss", did))
	})
	allowed := 30 + int64(time.Since(start).Seconds()) + 1
	const atOnce = 64 // connections, whose failures may not have been counted yet
	if n := int64(e.dir.Asked()); n > allowed+atOnce {
		t.Errorf("%d requests to the directory, want at most %d", n, allowed+atOnce)
	}
	t.Logf("2,000 fake issuers: %d requests to the directory; answers %v", e.dir.Asked(), answers)
}

// Requests over an account's limit leave no used token behind.
func TestRefusedRequestsLeaveNoToken(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	n := 2000
	if *figures {
		n = 100_000
	}
	start := time.Now()
	answers := e.flood(t, n+200, "192.0.2.1", func() string {
		return e.id.Bearer(serviceDID, standard.NSID, e.id.ExpiresIn(59*time.Minute))
	})
	allowed := 200 + int(time.Since(start).Seconds()*200/60) + 1
	if got := e.replays.Len(); got != answers[http.StatusOK] || got > allowed {
		t.Errorf("%d used tokens are remembered of %d answered calls, want at most %d", got, answers[http.StatusOK], allowed)
	}
	t.Logf("%d requests: %d used tokens remembered; answers %v", n+200, e.replays.Len(), answers)
}

// Forged tokens of a known account end where the address' bucket does: nothing
// more of them is looked at.
func TestForgedTokensEndAtTheAddress(t *testing.T) {
	t.Parallel()
	e := newEdge(t)
	good := func() string { return e.id.Bearer(serviceDID, standard.NSID) }
	if a := e.flood(t, 1, "192.0.2.2", good); a[http.StatusOK] != 1 {
		t.Fatal(a)
	}
	other := e.dir.NewIdentity(authtest.P256).PrivateKey()
	start := time.Now()
	answers := e.flood(t, 500, "192.0.2.1", func() string { return e.id.Bearer(serviceDID, standard.NSID, authtest.SignedBy(other)) })
	if n := answers[http.StatusUnauthorized]; n > 31+int(time.Since(start).Seconds()) {
		t.Errorf("%d forged tokens were answered by themselves", n)
	}
	if n := e.dir.Asked(); n > 2 {
		t.Errorf("%d requests to the directory", n)
	}
	if a := e.flood(t, 1, "192.0.2.2", good); a[http.StatusOK] != 1 {
		t.Errorf("another address: %v", a)
	}
}
