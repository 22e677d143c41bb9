package auth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const staleFor = 24 * time.Hour

// resolverOver replaces the environment's resolver by one that starts afresh,
// as a server does that is started again.
func (e *env) restart(t *testing.T, documents *store.Store) {
	t.Helper()
	client, err := egress.New(egress.Config{Allow: e.dir.HostPorts()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdle)
	e.resolver = auth.NewResolver(auth.ResolverConfig{
		Client: client, PLCURL: e.dir.URL(), StaleFor: staleFor, Documents: documents, Clock: e.clock,
	})
	e.auth, err = auth.New(auth.Config{
		ServiceDID: serviceDID, ServiceID: serviceID, EnforceLXM: true, EnforceJTI: true, JTITTL: 5 * time.Minute,
		Resolver: e.resolver, Replays: e.replays, Hasher: newHasher(t), Clock: e.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.New(t.Context(), store.Config{URL: pgtest.New(t), MaxConns: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// While the directory is away, users go on whose documents are not older than
// StaleFor, and nobody is told that the fault is theirs.
func TestDirectoryAway(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.restart(t, nil)
	id, unknown := e.dir.NewIdentity(authtest.K256), e.dir.NewIdentity(authtest.P256)
	token := func(opts ...authtest.TokenOption) string { return id.Bearer(serviceDID, standard.NSID, opts...) }
	old := id.PrivateKey()
	e.want(t, "before", "", standard, token())
	e.dir.SetDown(true)
	for range 12 {
		e.clock.Advance(staleFor/12 - time.Second)
		e.want(t, "known", "", standard, token())
		e.want(t, "unknown", auth.NameNotEnoughResources, standard, unknown.Bearer(serviceDID, standard.NSID))
	}
	id.Rotate(authtest.P256)
	for range 3 {
		e.want(t, "a new key that nobody can confirm", auth.NameNotEnoughResources, standard, token())
		e.want(t, "the key that is known", "", standard, token(authtest.SignedBy(old)))
	}
	e.clock.Advance(time.Minute)
	e.want(t, "older than that", auth.NameNotEnoughResources, standard, token(authtest.SignedBy(old)))

	e.dir.SetDown(false)
	e.clock.Advance(time.Minute)
	e.want(t, "back, new key", "", standard, token())
	e.want(t, "back, old key", auth.NameBadJwtSignature, standard, token(authtest.SignedBy(old)))
	e.want(t, "back, unknown", "", standard, unknown.Bearer(serviceDID, standard.NSID))
}

// A signature that does not fit a stale document still asks the directory.
func TestStaleDocumentIsAskedAgain(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.restart(t, nil)
	id := e.dir.NewIdentity(authtest.K256)
	e.want(t, "before", "", standard, id.Bearer(serviceDID, standard.NSID))
	e.dir.SetDown(true)
	e.clock.Advance(time.Hour)
	e.want(t, "stale", "", standard, id.Bearer(serviceDID, standard.NSID))
	e.dir.SetDown(false)
	id.Rotate(authtest.P256)
	e.want(t, "a new key, within the time that a failure is remembered", "", standard, id.Bearer(serviceDID, standard.NSID))
}

// A server that is started while the directory is away knows its users, and
// nobody else.
func TestRestartWhileTheDirectoryIsAway(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	documents := openStore(t)
	e.restart(t, documents)
	k256, p256, unknown, gone := e.dir.NewIdentity(authtest.K256), e.dir.NewIdentity(authtest.P256), e.dir.NewIdentity(authtest.K256), e.dir.NewIdentity(authtest.K256)
	call := func(id *authtest.Identity, opts ...authtest.TokenOption) string {
		return id.Bearer(serviceDID, standard.NSID, opts...)
	}
	for _, id := range []*authtest.Identity{k256, p256, gone} {
		e.want(t, "before", "", standard, call(id))
	}
	e.want(t, "forged", auth.NameBadJwtSignature, standard, call(unknown, authtest.SignedBy(k256.PrivateKey())))
	e.dir.Remove(gone)
	e.clock.Advance(auth.PositiveTTL)
	e.want(t, "gone", auth.NameUnresolvedDid, standard, call(gone))
	stop(t, e.resolver)

	e.dir.SetDown(true)
	e.restart(t, documents)
	for _, id := range []*authtest.Identity{k256, p256} {
		e.want(t, "after the restart", "", standard, call(id))
		if pds, err := e.resolver.PDSEndpoint(t.Context(), id.DID); err != nil || pds != "https://pds.example.com" {
			t.Errorf("PDS %q, %v", pds, err)
		}
		e.want(t, "forged after the restart", auth.NameNotEnoughResources, standard, call(id, authtest.SignedBy(unknown.PrivateKey())))
	}
	e.want(t, "an account whose token was never good", auth.NameNotEnoughResources, standard, call(unknown))
	e.want(t, "an account that was gone", auth.NameNotEnoughResources, standard, call(gone))

	e.clock.Advance(staleFor)
	e.restart(t, documents)
	e.want(t, "a day later", auth.NameNotEnoughResources, standard, call(k256))
}

// stop ends a resolver as the end of its server does.
func stop(t *testing.T, r *auth.Resolver) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r.Run(ctx)
}

// A directory that fails is left alone, but for a probe now and then; one
// document that it cannot serve does not make it one that fails.
func TestOutageIsProbed(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var down atomic.Bool
	e := newEnv(t)
	plc := newServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if down.Load() || strings.HasSuffix(r.URL.Path, "aaaa") {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNotFound)
	}))
	client, err := egress.New(egress.Config{Allow: []string{plc}})
	if err != nil {
		t.Fatal(err)
	}
	r := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: "http://" + plc, Clock: e.clock})
	ask := func(want error) {
		t.Helper()
		if _, err := r.Resolve(t.Context(), e.dir.NewIdentity(authtest.K256).DID); !errors.Is(err, want) {
			t.Errorf("%v, want %v", err, want)
		}
	}
	for range 20 {
		if _, err := r.Resolve(t.Context(), "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"); !errors.Is(err, auth.ErrDIDUnreachable) {
			t.Error(err)
		}
		ask(auth.ErrDIDNotFound)
		e.clock.Advance(auth.UnreachableTTL)
	}
	down.Store(true)
	for range 50 {
		ask(auth.ErrDIDUnreachable)
	}
	before := asked.Load()
	for range 10 {
		e.clock.Advance(5 * time.Second)
		for range 20 {
			ask(auth.ErrDIDUnreachable)
		}
	}
	if n := asked.Load() - before; n != 10 {
		t.Errorf("%d requests in 50 seconds, want one each 5", n)
	}
	down.Store(false)
	e.clock.Advance(5 * time.Second)
	for range 5 {
		ask(auth.ErrDIDNotFound)
	}
}

// Hosts that accept and say nothing keep nobody else from being resolved: a
// domain has one fetch under way, and its users are told to try again.
func TestSilentHosts(t *testing.T) {
	t.Parallel()
	dir := authtest.NewDirectory(t, clock.System)
	end := make(chan struct{})
	silent := newServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-end:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(end) })
	_, port, _ := strings.Cut(silent, ":")
	client, err := egress.New(egress.Config{Allow: append(dir.HostPorts(), "localhost:"+port)})
	if err != nil {
		t.Fatal(err)
	}
	r := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL(), Clock: clock.System})
	host := lexrt.DID("did:web:localhost%3A" + port)
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := r.Resolve(t.Context(), host); !errors.Is(err, auth.ErrDIDUnreachable) {
			t.Errorf("a silent host: %v", err)
		}
	})
	for range 40 {
		if _, err := r.Resolve(t.Context(), dir.NewIdentity(authtest.K256).DID); err != nil {
			t.Errorf("beside a silent host: %v", err)
		}
	}
	wg.Wait()
}

// For a while after the memory of used tokens began, a token that may have been
// used before is of no use.
func TestTokensOfBeforeABeginning(t *testing.T) {
	t.Parallel()
	var began time.Time
	e := newEnv(t, func(c *auth.Config) { c.Began = func() time.Time { return began } })
	id := e.dir.NewIdentity(authtest.K256)
	issued := func(d time.Duration) authtest.TokenOption { return authtest.Claim("iat", e.clock.Now().Add(d).Unix()) }
	call := func(what, want string, opts ...authtest.TokenOption) {
		t.Helper()
		e.want(t, what, want, standard, id.Bearer(serviceDID, standard.NSID, append(opts, id.ExpiresIn(30*time.Minute))...))
	}
	call("nothing began, no iat", "", authtest.Claim("iat", nil))
	began = e.clock.Now().Add(-10*time.Minute + 400*time.Millisecond)
	call("issued before", auth.NameJwtExpired, issued(-10*time.Minute-time.Second))
	call("issued in that second", "", issued(-10*time.Minute))
	call("issued after", "", issued(0))
	call("no iat", auth.NameJwtExpired, authtest.Claim("iat", nil))
	e.clock.Advance(51 * time.Minute)
	call("no iat, over an hour later", "", authtest.Claim("iat", nil))
	call("issued before, over an hour later", "", issued(-70*time.Minute))
	began = e.clock.Now().Add(time.Hour)
	call("under a clock of the database's that is an hour ahead", "", issued(0))
}
