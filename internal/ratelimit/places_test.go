package ratelimit_test

import (
	"context"
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/ratelimit"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
)

// A shifted clock can be set forward.
type shiftedClock struct{ by atomic.Int64 }

func (c *shiftedClock) Now() time.Time { return clock.System.Now().Add(time.Duration(c.by.Load())) }

func newPlaces(t *testing.T, server *redistest.Server, c clock.Clock) (places *ratelimit.Places, away *atomic.Int64) {
	t.Helper()
	hasher, err := shared.NewHasher([]byte(strings.Repeat("s", shared.MinSecret)))
	if err != nil {
		t.Fatal(err)
	}
	away = new(atomic.Int64)
	return ratelimit.NewPlaces(ratelimit.PlacesConfig{
		Redis: shared.NewRedis(server.Client(t), time.Minute), Hasher: hasher, OnAway: func(error) { away.Add(1) }, Clock: c,
	}), away
}

func holds(n int) func() int { return func() int { return n } }

// Each server hears what the others hold, in the window in which they noted it and in
// the next, whatever becomes of the servers; nothing leads from one window to another.
func TestPlaces(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	c := &shiftedClock{}
	// Not at the end of a window.
	c.by.Store(int64(time.Until(time.Now().Truncate(time.Minute).Add(time.Minute + time.Second))))
	a, _ := newPlaces(t, server, c)
	b, _ := newPlaces(t, server, c)
	note := func(what string, p *ratelimit.Places, held, want int) {
		t.Helper()
		if n := p.Note(t.Context(), "did:plc:alice", holds(held)); n != want {
			t.Errorf("%s: %d elsewhere, want %d", what, n, want)
		}
	}
	note("first", a, 2, 0)
	note("the other", b, 3, 2)
	note("again", a, 1, 3)
	if n := a.Note(t.Context(), "did:plc:bob", holds(1)); n != 0 {
		t.Errorf("bob: %d elsewhere", n)
	}
	c.by.Add(int64(time.Minute))
	note("a new window, in which b has noted nothing", a, 2, 3)
	c.by.Add(int64(time.Minute))
	note("b is gone", a, 2, 0)
	note("b is back", b, 1, 2)
	note("a closes all", a, 0, 1)
	note("b alone", b, 1, 0)
	for _, key := range server.Client(t).Keys(t.Context(), "*").Val() {
		if strings.Contains(key, "alice") || !strings.HasPrefix(key, "mls:open:{") {
			t.Errorf("key %s", key)
		}
		if ttl := server.Client(t).PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > 2*time.Minute+2*time.Second {
			t.Errorf("a key lives for %v", ttl)
		}
	}
}

// Of servers that note at the same time, all but one at most see too many.
func TestPlacesAreNotGivenTwice(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for range 20 {
		var admitted atomic.Int64
		var wg sync.WaitGroup
		user := rand.Text()
		for range 4 {
			p, _ := newPlaces(t, server, clock.System)
			wg.Go(func() {
				if p.Note(t.Context(), user, holds(1)) == 0 {
					admitted.Add(1)
				}
			})
		}
		wg.Wait()
		if n := admitted.Load(); n > 1 {
			t.Fatalf("%d servers gave away the only place", n)
		}
	}
}

// While Redis is away a server counts its own, which is counted; a caller who left is none.
func TestPlacesWithoutRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	p, away := newPlaces(t, server, clock.System)
	q, _ := newPlaces(t, server, clock.System)
	q.Note(t.Context(), "u", holds(5))
	left, cancel := context.WithCancel(t.Context())
	cancel()
	if n := p.Note(left, "u", holds(1)); n != 0 || away.Load() != 0 {
		t.Errorf("a caller who left: %d elsewhere, away %d times", n, away.Load())
	}
	server.Kill()
	if n := p.Note(t.Context(), "u", holds(1)); n != 0 || away.Load() != 1 {
		t.Errorf("%d elsewhere, away %d times", n, away.Load())
	}
}
