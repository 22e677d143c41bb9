package app

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// spoken is what the operator was told.
type spoken struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *spoken) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *spoken) count(part string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.text.String(), part)
}

// A fault is said at once, again at doubling intervals for as long as it lasts,
// and when it is over.
func TestFaultsAreSaidAtDoublingIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out := &spoken{}
		a := &App{out: out}
		var well atomic.Bool
		var ups atomic.Int64
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- a.watch(ctx, dependency{
				name: "It", explain: func(error) string { return "It is away" }, up: func() { ups.Add(1) },
				check: func(context.Context) error {
					if well.Load() {
						return nil
					}
					return errors.New("x")
				},
			})
		}()
		synctest.Wait()
		if n := out.count("It is away; trying again\n"); n != 1 {
			t.Errorf("said %d times at first", n)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		// 2, 4, … 512 s, then every ten minutes
		if n := out.count("It is away; trying again\n"); n < 10 || n > 16 {
			t.Errorf("said %d times in an hour", n)
		}
		well.Store(true)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := out.count("It answers\n"); n != 1 || ups.Load() != 1 {
			t.Errorf("said %d times that it answers, up %d times", n, ups.Load())
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What cannot get better ends the server.
func TestFatalFaultsEndTheServer(t *testing.T) {
	t.Parallel()
	old := errors.New("too old")
	a := &App{out: new(bytes.Buffer)}
	err := a.watch(t.Context(), dependency{check: func(context.Context) error { return old }, explain: func(error) string { return "in words" }, fatal: old})
	if err == nil || err.Error() != "in words" {
		t.Error(err)
	}
}

// systemd is told over its socket; elsewhere nobody is.
func TestNotify(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }()
	(&App{}).notify("READY=1")
	(&App{notifyAt: path}).notify("STOPPING=1")
	buf := make([]byte, 100)
	n, err := socket.Read(buf)
	if err != nil || string(buf[:n]) != "STOPPING=1" {
		t.Errorf("%q, %v", buf[:n], err)
	}
}

// Requests that are not finished in time are cut off, which is not a failure.
func TestDrainOutOfTime(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	a := &App{out: &out, log: slog.New(slog.DiscardHandler)}
	release, held := make(chan struct{}), make(chan struct{})
	t.Cleanup(func() { close(release) })
	stuck := newServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(held)
		<-release
	}), a.log)
	l, err := listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = stuck.Serve(l) }()
	conn := dialTo(t, l.Addr().String())
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	<-held
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no time at all
	if err := a.shutdown(ctx, []*server{stuck}); err != nil || !strings.Contains(out.String(), "cut off") {
		t.Errorf("%v; said %q", err, out.String())
	}
}
