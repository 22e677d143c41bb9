// Package e2e runs the whole server inside a test, on a PostgreSQL database of
// its own, and drives it over HTTP with real service tokens. Its tests are about
// what no single package can show: the method sweep, every declared error, the
// model, crashes, privacy.
//
// Nothing in it may reach past the public surface, except for the searches of
// logs and database that the privacy invariants ask for.
package e2e

import (
	"bytes"
	"context"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/app"
	"mls-server/internal/authtest"
	"mls-server/internal/config"
	"mls-server/internal/pgtest"
	"mls-server/lexrt"
)

// Server is a running server.
type Server struct {
	// URL is the public base URL, Admin that of the admin port.
	URL, Admin string
	// DatabaseURL is the server's own database.
	DatabaseURL string
	// DID is the audience of tokens.
	DID string
	// Directory publishes the identities of the test.
	Directory *authtest.Directory
	// Blocks is the AppView that the server asks.
	Blocks *AppView
	// Logs holds everything the server has logged. When the server ends, they and
	// its metrics are searched for what its requests and answers held.
	Logs *Log

	// Heard, when not nil, is given the body of each successful answer, and the data of each event
	// of the streams that Follow opens. It is set before the first request.
	Heard func(m *lexrt.Method, body []byte)

	canary *Canary
	client *http.Client
	stop   func()
}

// Log is a buffer that may be read while it is written.
type Log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// About returns the lines that name a request, "" for none.
func (l *Log) About(requestID string) string {
	if l == nil || requestID == "" {
		return ""
	}
	var lines []string
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, requestID) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "")
}

// Env changes the environment that a server starts with.
type Env map[string]string

// Start runs a server until the test ends. Rate limits are wide open unless env narrows them.
func Start(tb testing.TB, env ...Env) *Server {
	tb.Helper()
	dir := authtest.NewDirectory(tb, nil)
	return StartOn(tb, pgtest.New(tb), dir, env...)
}

// StartOn is Start on a given database and directory, for several servers that share them.
func StartOn(tb testing.TB, databaseURL string, dir *authtest.Directory, env ...Env) *Server {
	tb.Helper()
	s, vars := newServer(tb, databaseURL, dir, env)
	cfg, err := config.Load(func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	server, err := app.Build(ctx, cfg, s.Logs)
	if err != nil {
		cancel()
		tb.Fatal(err)
	}
	ready, done := make(chan [2]net.Addr, 1), make(chan error, 1)
	go func() { done <- server.Run(ctx, func(public, admin net.Addr) { ready <- [2]net.Addr{public, admin} }) }()
	select {
	case addrs := <-ready:
		s.URL, s.Admin = "http://"+addrs[0].String(), "http://"+addrs[1].String()
	case err := <-done:
		cancel()
		tb.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		metrics := s.metrics(tb)
		s.client.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			tb.Errorf("the server ended with %v", err)
		}
		s.searchForLeaks(tb, metrics)
	})
	tb.Cleanup(s.stop)
	return s
}

// newServer is a server that does not run yet, and the environment for it.
func newServer(tb testing.TB, databaseURL string, dir *authtest.Directory, env []Env) (s *Server, vars Env) {
	tb.Helper()
	s = &Server{
		DatabaseURL: databaseURL, Directory: dir, Blocks: newAppView(tb), Logs: &Log{}, DID: "did:web:mls.test",
		canary: canaryOf(tb, dir),
	}
	s.client = &http.Client{Timeout: 30 * time.Second, Transport: &overheard{&http.Transport{MaxIdleConnsPerHost: 128}, s.canary}}
	vars = Env{
		"MLS_ENV": "development", "SERVICE_DID": s.DID, "DATABASE_URL": databaseURL, "SERVER_HOST": "127.0.0.1", "SERVER_PORT": "0",
		"ADMIN_PORT": "0", "LOG_LEVEL": "debug", "PLC_URL": dir.URL(), "APPVIEW_URL": s.Blocks.URL(),
		"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), s.Blocks.HostPort()), ","), "DATABASE_MAX_CONNS": "12",
	}
	for _, v := range config.Variables() {
		if strings.HasPrefix(v.Name, "RATE_LIMIT_") {
			vars[v.Name] = "1000000"
		}
	}
	for _, e := range env {
		maps.Copy(vars, e)
	}
	return s, vars
}

// Stop ends the server in order, before the test does.
func (s *Server) Stop() { s.stop() }

// Canary remembers what the requests and answers of the test hold, those of
// servers with the same directory included.
func (s *Server) Canary() *Canary { return s.canary }

// NewUser makes a user with a published identity and a handle.
func (s *Server) NewUser(curve authtest.Curve) *User {
	u := &User{Identity: s.Directory.NewIdentity(curve), Server: s}
	u.SetPDS(s.Blocks.URL())
	handle := "user-" + strconv.FormatInt(counter.Add(1), 10) + ".handle.test"
	u.EditDocument(func(doc map[string]any) { doc["alsoKnownAs"] = []any{"at://" + handle} })
	s.canary.Add("DID", string(u.DID))
	s.canary.Add("handle", handle)
	accounts.Store(u.DID, u)
	return u
}

// Adopt is a user whose identity others publish, and whose requests go through somebody else.
func (s *Server) Adopt(identity *authtest.Identity, through func(r *http.Request)) *User {
	u := &User{Identity: identity, Server: s, Through: through}
	s.canary.Add("DID", string(u.DID))
	accounts.Store(u.DID, u)
	return u
}

// Users makes n users.
func (s *Server) Users(n int) []*User {
	users := make([]*User, n)
	for i := range users {
		users[i] = s.NewUser([]authtest.Curve{authtest.K256, authtest.P256}[i%2])
	}
	return users
}
