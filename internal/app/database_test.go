package app

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

// gate stands between a server and its database.
type gate struct {
	net.Listener
	network, target string

	mu    sync.Mutex
	mute  bool // nothing passes
	conns []net.Conn
}

// newGate returns an open gate in front of a database, and the URL that leads through it.
func newGate(t *testing.T, databaseURL string) (g *gate, through string) {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	g = &gate{network: "tcp", target: u.Host}
	query := u.Query()
	if socket := query.Get("host"); socket != "" {
		g.network, g.target = "unix", filepath.Join(socket, ".s.PGSQL."+query.Get("port"))
	}
	if g.Listener, err = new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.shut)
	host, port, err := net.SplitHostPort(g.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	query.Set("host", host)
	query.Set("port", port)
	query.Set("sslmode", "disable")
	u.RawQuery = query.Encode()
	go g.run(t.Context())
	return g, u.String()
}

func (g *gate) run(ctx context.Context) {
	for {
		front, err := g.Accept()
		if err != nil {
			return
		}
		back, err := new(net.Dialer).DialContext(ctx, g.network, g.target)
		if err != nil {
			_ = front.Close()
			continue
		}
		g.mu.Lock()
		g.conns = append(g.conns, front, back)
		g.mu.Unlock()
		go g.pass(front, back)
		go g.pass(back, front)
	}
}

func (g *gate) pass(from, to net.Conn) {
	buf := make([]byte, 16<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			_ = to.Close()
			return
		}
		g.mu.Lock()
		mute := g.mute
		g.mu.Unlock()
		if mute {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			_ = from.Close()
			return
		}
	}
}

// silence lets nothing pass, like a network that has lost the database.
func (g *gate) silence() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mute = true
}

// shut refuses connections and ends those that there are.
func (g *gate) shut() {
	_ = g.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.conns {
		_ = c.Close()
	}
}

// A database that refuses connections is told as NotEnoughResources, and the
// server is not ready.
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	g, through := newGate(t, pgtest.New(t))
	r := start(t, map[string]string{"DATABASE_URL": through})
	r.wantConvos(t, http.StatusOK, "")
	g.shut()
	r.wantConvos(t, http.StatusServiceUnavailable, "NotEnoughResources")
	r.want(t, "/health/ready", "", http.StatusServiceUnavailable, `"reason":"database"`)
}

// A database that says nothing makes the server not ready, too.
func TestDatabaseSilent(t *testing.T) {
	t.Parallel()
	g, through := newGate(t, pgtest.New(t))
	r := start(t, map[string]string{"DATABASE_URL": through})
	r.want(t, "/health/ready", "", http.StatusOK, `"ready"`)
	g.silence()
	r.forgetReadiness()
	r.want(t, "/health/ready", "", http.StatusServiceUnavailable, `"reason":"database"`)
	r.want(t, "/health", "", http.StatusOK, `"ok"`)
}

// A server whose database lacks migrations is alive and not ready, until they are applied.
func TestReadyAwaitsMigrations(t *testing.T) {
	t.Parallel()
	url := pgtest.NewEmpty(t)
	r := start(t, map[string]string{"DATABASE_URL": url})
	r.want(t, "/health/ready", "", http.StatusServiceUnavailable, `"reason":"migrations"`)
	r.want(t, "/health/live", "", http.StatusOK, `"ok"`)
	if err := Migrate(t.Context(), r.cfg, t.Output()); err != nil {
		t.Fatal(err)
	}
	r.forgetReadiness()
	r.want(t, "/health/ready", "", http.StatusOK, `"ready"`)
}

// Whoever asks for readiness, and how often: the database is asked once a second.
func TestReadinessIsAskedOnceASecond(t *testing.T) {
	t.Parallel()
	g, through := newGate(t, pgtest.New(t))
	r := start(t, map[string]string{"DATABASE_URL": through})
	r.want(t, "/health/ready", "", http.StatusOK, `"ready"`)
	h := r.app.health
	clk := clocktest.New()
	h.mu.Lock()
	h.clock, h.checked = clk, clk.Now()
	h.mu.Unlock()
	g.shut()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { r.want(t, "/health/ready", "", http.StatusOK, `"ready"`) })
	}
	wg.Wait()
	clk.Advance(readyFor)
	r.want(t, "/health/ready", "", http.StatusServiceUnavailable, `"reason":"database"`)
}

// forgetReadiness makes the next check ask.
func (r *running) forgetReadiness() {
	h := r.app.health
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checked = time.Time{}
}

// wantConvos calls a method that reads the database.
func (r *running) wantConvos(t *testing.T, status int, part string) {
	t.Helper()
	m := mlsapi.MethodGetConvos
	r.want(t, "/xrpc/"+m.NSID, r.dir.NewIdentity(authtest.P256).Bearer(testDID, m.NSID), status, part)
}

// want asks for a path and compares the answer.
func (r *running) want(t *testing.T, path, authorization string, status int, part string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.public+path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != status || !strings.Contains(string(body), part) {
		t.Errorf("%s: %d %s (%v), want %d with %q", path, resp.StatusCode, body, err, status, part)
	}
}
