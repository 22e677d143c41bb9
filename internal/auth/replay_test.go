package auth_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/clock"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
)

func key(n int) (k [32]byte) {
	k[0], k[1], k[2] = byte(n), byte(n>>8), byte(n>>16)
	return k
}

func use(t *testing.T, s auth.ReplayStore, k [32]byte, expires time.Time) bool {
	t.Helper()
	fresh, err := s.Use(t.Context(), k, expires)
	if err != nil {
		t.Fatalf("use: %v", err)
	}
	return fresh
}

// Every store keeps the same promises.
func TestReplayStores(t *testing.T) {
	t.Parallel()
	stores := map[string]func(t *testing.T) auth.ReplayStore{
		"memory": func(*testing.T) auth.ReplayStore { return auth.NewMemoryReplays(1000, clock.System) },
		"redis": func(t *testing.T) auth.ReplayStore {
			t.Helper()
			return auth.NewRedisReplays(shared.NewRedis(redistest.Start(t).Client(t), 10*time.Second))
		},
		"chain": func(t *testing.T) auth.ReplayStore {
			t.Helper()
			fast := auth.NewRedisReplays(shared.NewRedis(redistest.Start(t).Client(t), 10*time.Second))
			return auth.NewReplayChain(fast, auth.NewMemoryReplays(1000, clock.System), clock.System, func(error) {})
		},
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			soon := time.Now().Add(time.Minute)
			if !use(t, s, key(1), soon) || use(t, s, key(1), soon) || use(t, s, key(1), soon.Add(time.Hour)) {
				t.Error("one key: want true, then false")
			}
			if !use(t, s, key(2), soon) {
				t.Error("another key is not fresh")
			}
			var won atomic.Int64
			var wg sync.WaitGroup
			for range 50 {
				wg.Go(func() {
					if fresh, err := s.Use(t.Context(), key(3), soon); err == nil && fresh {
						won.Add(1)
					}
				})
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("%d of 50 racing uses won", won.Load())
			}
		})
	}
}

func TestMemoryReplaysExpiresAndIsBounded(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	s := auth.NewMemoryReplays(3, clk)
	at := func(d time.Duration) time.Time { return clk.Now().Add(d) }
	for i := range 3 {
		if !use(t, s, key(i), at(time.Duration(3-i)*time.Minute)) {
			t.Fatalf("key %d is not fresh", i)
		}
	}
	if _, err := s.Use(t.Context(), key(9), at(time.Hour)); !errors.Is(err, auth.ErrReplayStoreFull) {
		t.Errorf("over the bound: %v", err)
	}
	if use(t, s, key(0), at(time.Hour)) {
		t.Error("a full store forgot a token")
	}
	clk.Advance(time.Minute) // key 2 expires, which makes room for one
	if !use(t, s, key(9), at(time.Hour)) {
		t.Error("no room after a token expired")
	}
	if _, err := s.Use(t.Context(), key(2), at(time.Hour)); !errors.Is(err, auth.ErrReplayStoreFull) {
		t.Errorf("room for one more: %v", err)
	}
	clk.Advance(24 * time.Hour)
	if n := s.Len(); n != 0 {
		t.Errorf("%d tokens remembered after all expired", n)
	}
}

func TestRedisReplaysExpire(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	s := auth.NewRedisReplays(shared.NewRedis(client, 10*time.Second))
	expires := time.Now().Add(time.Hour)
	use(t, s, key(1), expires)
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("keys: %v, %v", keys, err)
	}
	ttl, err := client.PTTL(t.Context(), keys[0]).Result()
	if err != nil || ttl > time.Hour || ttl < 59*time.Minute {
		t.Errorf("ttl %v, %v", ttl, err)
	}
}

// flaky is a store that can be switched off, or made to forget.
type flaky struct {
	mu     sync.Mutex
	broken bool
	calls  int
	inner  auth.ReplayStore
}

func (f *flaky) Use(ctx context.Context, k [32]byte, expires time.Time) (bool, error) {
	f.mu.Lock()
	f.calls++
	broken, inner := f.broken, f.inner
	f.mu.Unlock()
	if broken {
		return false, errors.New("flaky store is off")
	}
	return inner.Use(ctx, k, expires)
}

func (f *flaky) set(broken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = broken
}

func (f *flaky) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

func TestReplayChainFallsBackAndStaysWary(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	memory := func() auth.ReplayStore { return auth.NewMemoryReplays(1000, clk) }
	fast, slow := &flaky{inner: memory()}, &flaky{inner: memory()}
	fallbacks := 0
	chain := auth.NewReplayChain(fast, slow, clk, func(error) { fallbacks++ })
	// a second process on the same stores
	other := auth.NewReplayChain(fast, slow, clk, func(error) {})
	until := clk.Now().Add(time.Hour)

	if !use(t, chain, key(1), until) || slow.count() != 0 {
		t.Error("with a healthy fast store the slow one is not asked")
	}
	fast.set(true)
	if !use(t, chain, key(2), until) || use(t, chain, key(2), until) || use(t, chain, key(1), until) {
		t.Error("during the outage the slow store and the memory decide")
	}
	if fallbacks == 0 {
		t.Error("the fallback was not reported")
	}
	calls := fast.count()
	if !use(t, chain, key(3), until) || fast.count() != calls {
		t.Error("a store that just failed is asked again at once")
	}
	if use(t, other, key(2), until) {
		t.Error("another process accepts a token of the outage")
	}

	// The fast store is back and empty. What was used during the outage, by any
	// process, and what this process used before it, stays used.
	fast.mu.Lock()
	fast.broken, fast.inner = false, memory()
	fast.mu.Unlock()
	clk.Advance(2 * time.Second)
	for i := 1; i <= 3; i++ {
		if use(t, chain, key(i), until) {
			t.Errorf("token %d is accepted again", i)
		}
	}
	if use(t, other, key(3), until) {
		t.Error("another process accepts a token of the outage after it")
	}
	if !use(t, chain, key(4), until) {
		t.Error("a new token is refused after the outage")
	}

	// Once no token of that time can come back, the slow store is left alone.
	clk.Advance(auth.MaxLifetime + 3*auth.Leeway)
	calls = slow.count()
	if !use(t, chain, key(5), clk.Now().Add(time.Minute)) || slow.count() != calls {
		t.Error("the slow store is still asked")
	}
}

func TestReplayChainNeverOpens(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	fast := &flaky{inner: auth.NewMemoryReplays(10, clk), broken: true}
	slow := &flaky{inner: auth.NewMemoryReplays(10, clk), broken: true}
	chain := auth.NewReplayChain(fast, slow, clk, func(error) {})
	until := clk.Now().Add(time.Minute)
	if fresh, err := chain.Use(t.Context(), key(1), until); err == nil || fresh {
		t.Errorf("both stores are off: %v, %v", fresh, err)
	}
	slow.set(false)
	if !use(t, chain, key(1), until) || use(t, chain, key(1), until) {
		t.Error("a token that could not be checked may be tried again, and then once")
	}
}

func TestReplayChainOverARestartedRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	fast := auth.NewRedisReplays(shared.NewRedis(server.Client(t), time.Second))
	slow := auth.NewMemoryReplays(1000, clock.System)
	clk := clocktest.New()
	chain := auth.NewReplayChain(fast, slow, clk, func(error) {})
	until := time.Now().Add(time.Hour)
	step := func(what string, from, to int) {
		t.Helper()
		for i := range to {
			if fresh := use(t, chain, key(i), until); fresh != (i >= from) {
				t.Errorf("%s: token %d fresh %v", what, i, fresh)
			}
		}
		clk.Advance(2 * time.Second)
	}
	step("up", 0, 10)
	server.Kill()
	step("killed", 10, 20)
	server.Restart(t)
	step("restarted", 20, 30)
	step("later", 30, 40)
}
