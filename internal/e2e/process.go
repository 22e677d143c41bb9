package e2e

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"mls-server/internal/authtest"
)

// Process is a server in a process of its own, which can be killed and started
// again at the same address.
type Process struct {
	*Server
	binary string
	vars   Env
	cmd    *exec.Cmd
}

// startWait is how long a server may take until it answers.
const startWait = 30 * time.Second

// StartProcess runs the binary on a database until the test ends.
func StartProcess(tb testing.TB, binary, databaseURL string, dir *authtest.Directory, env ...Env) *Process {
	tb.Helper()
	s, vars := newServer(tb, databaseURL, dir, env)
	// After a restart clients look for the server at the same ports.
	for name, url := range map[string]*string{"SERVER_PORT": &s.URL, "ADMIN_PORT": &s.Admin} {
		vars[name] = FreePort(tb)
		*url = "http://127.0.0.1:" + vars[name]
	}
	p := &Process{Server: s, binary: binary, vars: vars}
	p.Restart(tb)
	tb.Cleanup(func() {
		metrics := p.metrics(tb)
		p.Kill()
		p.searchForLeaks(tb, metrics)
	})
	return p
}

// Operate runs mls-server admin on the server's database, which needs no server, and returns what
// it says to its operator.
func (s *Server) Operate(tb testing.TB, args ...string) string {
	tb.Helper()
	out, faults, err := s.TryOperate(tb, args...)
	if err != nil {
		tb.Fatalf("admin %v: %v\n%s%s", args, err, out, faults)
	}
	if faults != "" {
		tb.Errorf("admin %v complains: %s", args, faults)
	}
	return out
}

// TryOperate is Operate for commands that may fail. faults is what the operator is told of that.
func (s *Server) TryOperate(tb testing.TB, args ...string) (out, faults string, err error) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), Binary(tb), append([]string{"admin"}, args...)...)
	cmd.Env = []string{"MLS_ENV=development", "DATABASE_URL=" + s.DatabaseURL}
	var said, complained bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &complained
	err = cmd.Run()
	return said.String(), complained.String(), err
}

// FreePort is a port that was free a moment ago.
func FreePort(tb testing.TB) string {
	tb.Helper()
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	return port
}

// Kill ends the process at once, as a power cut would, and waits until it is gone.
func (p *Process) Kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // says "killed"
	p.cmd = nil
	p.client.CloseIdleConnections()
}

// Restart starts the process and waits until it is ready.
func (p *Process) Restart(tb testing.TB) {
	tb.Helper()
	p.cmd = exec.CommandContext(context.WithoutCancel(tb.Context()), p.binary, "serve")
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range p.vars {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stderr = p.Logs
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	for end := time.Now().Add(startWait); ; time.Sleep(10 * time.Millisecond) {
		req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, p.URL+"/health/ready", http.NoBody)
		if err != nil {
			tb.Fatal(err)
		}
		if resp, err := p.client.Do(req); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body) // the status says it all
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(end) {
			tb.Fatalf("the server does not get ready:\n%s", p.Logs)
		}
	}
}
