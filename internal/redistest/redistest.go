// Package redistest starts private Redis servers for tests: on a unix socket in
// a directory of their own, without persistence, gone when the test ends or its
// process dies.
//
// Nothing but tests may import it.
package redistest

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const startTimeout = 10 * time.Second

// Server is a private Redis server.
type Server struct {
	socket string
	stdin  io.Closer
	cmd    *exec.Cmd
}

// Start starts a server that lives as long as the test. It fails the test, with
// the command that helps, when the machine has no redis-server.
func Start(tb testing.TB) *Server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		tb.Fatal("these tests need redis-server: apt-get install redis-server, or brew install redis")
	}
	//nolint:usetesting // the path of a unix socket has about 100 bytes at most, a test's TempDir may have more
	dir, err := os.MkdirTemp("", "redistest")
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	s := &Server{socket: filepath.Join(dir, "s")}
	tb.Cleanup(s.Kill)
	s.Restart(tb)
	return s
}

// Socket is the path of the server's unix socket.
func (s *Server) Socket() string { return s.socket }

// URL is the value for REDIS_URL.
func (s *Server) URL() string { return "unix://" + s.socket }

// Client returns a client that is closed with the test.
func (s *Server) Client(tb testing.TB) *redis.Client {
	tb.Helper()
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, MaxRetries: -1})
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Kill ends the server without warning. Its data is lost.
func (s *Server) Kill() {
	if s.cmd == nil {
		return
	}
	_ = s.stdin.Close()
	_ = s.cmd.Wait()
	s.cmd = nil
	_ = os.Remove(s.socket)
}

// Restart starts the server, empty, and waits until it answers. A running one
// is killed first.
func (s *Server) Restart(tb testing.TB) {
	tb.Helper()
	s.Kill()
	// The shell waits for the end of its input, which comes when the test closes
	// it or its process is gone in whatever way, and then ends the one server it started.
	const script = `"$@" >/dev/null 2>&1 & pid=$!; cat >/dev/null; kill -9 $pid; wait $pid 2>/dev/null; exit 0`
	//nolint:gosec,noctx // constant arguments; the server's life is bound to the pipe, not to a context
	cmd := exec.Command("/bin/sh", "-c", script, "sh",
		"redis-server", "--port", "0", "--unixsocket", s.socket, "--save", "", "--appendonly", "no",
		"--dir", filepath.Dir(s.socket), "--daemonize", "no")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	if err := cmd.Start(); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	s.cmd, s.stdin = cmd, stdin

	client := redis.NewClient(&redis.Options{Network: "unix", Addr: s.socket, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	for client.Ping(ctx).Err() != nil {
		select {
		case <-ctx.Done():
			tb.Fatalf("redistest: redis-server did not answer within %v", startTimeout)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
