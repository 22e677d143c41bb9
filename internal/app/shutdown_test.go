package app

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/config"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
	"mls-server/internal/redistest"
)

// prompt is how long a server may take to stop that has nothing to finish. It
// takes some 0.3 s; the rest is for a busy machine. A server that leaves fresh
// connections to net/http waits for 5 s.
const prompt = 4 * time.Second

// running is a server under test.
type running struct {
	public string
	cfg    *config.Config
	app    *App
	dir    *authtest.Directory
	stop   context.CancelFunc
	done   chan error
}

const testDID = "did:web:mls.test"

// start runs a server until it is stopped or the test ends.
func start(t *testing.T, env map[string]string) *running {
	t.Helper()
	r := &running{dir: authtest.NewDirectory(t, nil), done: make(chan error, 1)}
	vars := map[string]string{
		"MLS_ENV": "development", "SERVICE_DID": testDID, "DATABASE_URL": pgtest.New(t), "SERVER_HOST": "127.0.0.1", "SERVER_PORT": "0",
		"ADMIN_PORT": "0", "PLC_URL": r.dir.URL(), "EGRESS_ALLOW": strings.Join(r.dir.HostPorts(), ","),
	}
	maps.Copy(vars, env)
	cfg, err := config.Load(func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	a, err := Build(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r.cfg, r.app = cfg, a
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(stop)
	r.stop = stop
	ready := make(chan net.Addr, 1)
	go func() { r.done <- a.Run(ctx, func(public, _ net.Addr) { ready <- public }) }()
	select {
	case addr := <-ready:
		r.public = addr.String()
	case err := <-r.done:
		t.Fatal(err)
	}
	return r
}

// dial opens a connection that is closed with the test.
func (r *running) dial(t *testing.T) net.Conn {
	t.Helper()
	return dialTo(t, r.public)
}

func dialTo(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// follow opens an event stream and reads up to the end of its first frame.
func (r *running) follow(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, m := r.dial(t), mlsapi.MethodStreamConvoEvents
	bearer := r.dir.NewIdentity(authtest.P256).Bearer(testDID, m.NSID)
	if _, err := io.WriteString(c, "GET /xrpc/"+m.NSID+" HTTP/1.1\r\nHost: x\r\nAuthorization: "+bearer+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(c)
	resp, err := http.ReadResponse(in, nil) //nolint:bodyclose // the connection is closed with the test
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the stream was answered with %v, %v", resp, err)
	}
	body := bufio.NewReader(resp.Body)
	for line := ""; line != "\n"; {
		if line, err = body.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	return c, body
}

// ended stops the server and waits for its end.
func (r *running) ended(t *testing.T) {
	t.Helper()
	begin := time.Now()
	r.stop()
	select {
	case err := <-r.done:
		if err != nil {
			t.Errorf("the server ended with %v", err)
		}
	case <-time.After(2 * drainTime):
		t.Fatal("the server does not end")
	}
	took := time.Since(begin)
	if t.Logf("stopped after %v", took); took > prompt {
		t.Errorf("the server stopped after %v, want less than %v", took, prompt)
	}
}

// A server that was told to stop answers that it is not ready, for as long as it answers.
func TestDrainingIsNotReady(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.want(t, "/health/ready", "", http.StatusOK, `"ready"`)
	c := r.dial(t)
	ask := func(want int, part string) {
		t.Helper()
		if _, err := io.WriteString(c, "GET /health/ready HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want || !strings.Contains(string(body), part) {
			t.Errorf("%d %s (%v), want %d with %q", resp.StatusCode, body, err, want, part)
		}
	}
	ask(http.StatusOK, `"ready"`)
	r.app.health.drain()
	ask(http.StatusServiceUnavailable, `"reason":"draining"`)
	r.want(t, "/health", "", http.StatusOK, `"ok"`)
}

// A server that has nothing to finish stops at once, whoever is connected.
func TestStopIsPrompt(t *testing.T) {
	t.Parallel()
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		start(t, nil).ended(t)
	})
	t.Run("idle, with Redis", func(t *testing.T) {
		t.Parallel()
		redis := redistest.Start(t)
		r := start(t, map[string]string{"REDIS_URL": redis.URL()})
		client := redis.Client(t)
		for subscribed := int64(0); subscribed == 0; time.Sleep(10 * time.Millisecond) {
			n, err := client.PubSubNumSub(t.Context(), "mls:hints").Result()
			if err != nil {
				t.Fatal(err)
			}
			subscribed = n["mls:hints"]
		}
		r.ended(t)
	})
	t.Run("a connection without a request", func(t *testing.T) {
		t.Parallel()
		r := start(t, nil)
		r.dial(t)
		r.follow(t) // the server has accepted both
		r.ended(t)
	})
	t.Run("half a request", func(t *testing.T) {
		t.Parallel()
		r := start(t, nil)
		if _, err := io.WriteString(r.dial(t), "GET /health HT"); err != nil {
			t.Fatal(err)
		}
		r.follow(t)
		r.ended(t)
	})
	t.Run("an aborted stream", func(t *testing.T) {
		t.Parallel()
		r := start(t, nil)
		c, _ := r.follow(t)
		_ = c.Close()
		r.ended(t)
	})
	t.Run("an open stream", func(t *testing.T) {
		t.Parallel()
		r := start(t, nil)
		_, body := r.follow(t)
		r.ended(t)
		rest, err := io.ReadAll(body)
		if err != nil || !strings.Contains(string(rest), `"kind":"server-restart"`) {
			t.Errorf("the stream ended with %q, %v", rest, err)
		}
	})
}
