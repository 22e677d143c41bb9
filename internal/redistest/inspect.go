package redistest

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Entry is what the server keeps under a key.
type Entry struct {
	Key, Type string
	// Value is that of a string, "" for other types.
	Value string
	// TTL is how long the entry lasts yet, negative for ever.
	TTL time.Duration
}

// Entries lists what the server keeps, in no order.
func (s *Server) Entries(tb testing.TB) []Entry {
	tb.Helper()
	c, ctx := s.Client(tb), tb.Context()
	keys, err := c.Keys(ctx, "*").Result()
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	var entries []Entry
	for _, key := range keys {
		e := Entry{Key: key}
		if e.Type, err = c.Type(ctx, key).Result(); err != nil {
			tb.Fatalf("redistest: %v", err)
		}
		if e.Type == "none" {
			continue // it has expired meanwhile
		}
		if e.TTL, err = c.PTTL(ctx, key).Result(); err != nil {
			tb.Fatalf("redistest: %v", err)
		}
		if e.Type == "string" {
			if e.Value, err = c.Get(ctx, key).Result(); err != nil && !errors.Is(err, redis.Nil) {
				tb.Fatalf("redistest: %v", err)
			}
		}
		entries = append(entries, e)
	}
	return entries
}

// Monitor holds the commands that a server was given.
type Monitor struct {
	mu   sync.Mutex
	text strings.Builder
}

// Monitor collects every command that the server is given from now on, those
// of scripts and what is published included: also what it keeps for a moment
// only. It ends with the test, or when the server is killed.
func (s *Server) Monitor(tb testing.TB) *Monitor {
	tb.Helper()
	conn, err := new(net.Dialer).DialContext(tb.Context(), "unix", s.socket)
	if err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	m, done := &Monitor{}, make(chan struct{})
	tb.Cleanup(func() { _ = conn.Close(); <-done })
	answer := make([]byte, len("+OK\r\n"))
	if _, err := io.WriteString(conn, "MONITOR\r\n"); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "+OK\r\n" {
		tb.Fatalf("redistest: MONITOR: %q %v", answer, err)
	}
	go func() {
		defer close(done)
		_, _ = io.Copy(m, conn) // until either side closes it
	}()
	return m
}

// Write implements io.Writer.
func (m *Monitor) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.Write(p)
}

// Commands returns what came so far: a line for each command, with its
// arguments in quotes. It waits until the server has told of all commands that
// were answered before.
func (m *Monitor) Commands(tb testing.TB, s *Server) string {
	tb.Helper()
	mark := rand.Text()
	if err := s.Client(tb).Echo(tb.Context(), mark).Err(); err != nil {
		tb.Fatalf("redistest: %v", err)
	}
	ctx, cancel := context.WithTimeout(tb.Context(), startTimeout)
	defer cancel()
	for {
		m.mu.Lock()
		text := m.text.String()
		m.mu.Unlock()
		if before, _, ok := strings.Cut(text, mark); ok {
			return before[:strings.LastIndexByte(before, '\n')+1]
		}
		select {
		case <-ctx.Done():
			tb.Fatal("redistest: MONITOR told nothing of a command")
		case <-time.After(10 * time.Millisecond):
		}
	}
}
