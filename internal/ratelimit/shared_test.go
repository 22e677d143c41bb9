package ratelimit

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
)

func newShared(tb testing.TB, own *Memory, client redis.UniversalClient, c clock.Clock, onAway func(error)) *Shared {
	tb.Helper()
	hasher, err := shared.NewHasher([]byte("0123456789abcdef"))
	if err != nil {
		tb.Fatal(err)
	}
	return NewShared(SharedConfig{
		Own: own, Redis: shared.NewRedis(client, 10*time.Second), Hasher: hasher, Private: func(string) bool { return false }, OnAway: onAway, Clock: c,
	})
}

// age makes every bucket in Redis older by d: its only state is the time at
// which it will be full.
func age(t *testing.T, client *redis.Client, d time.Duration) {
	t.Helper()
	keys, err := client.Keys(t.Context(), keyPrefix+"*").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if err := client.DecrBy(t.Context(), k, d.Microseconds()).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRedisKeysHoldNoSubject(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	take(t, newShared(t, newMemory(t, clock.System), client, clock.System, func(error) {}), "createConvo", "did:plc:subject")
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil || len(keys) != 1 {
		t.Fatalf("%v, %v", keys, err)
	}
	if strings.Contains(keys[0], "did") || strings.Contains(keys[0], "createConvo") || !strings.Contains(keys[0], "{") {
		t.Errorf("key %q", keys[0])
	}
	ttl, err := client.PTTL(t.Context(), keys[0]).Result()
	if err != nil || ttl <= 0 || ttl > 12*time.Second {
		t.Errorf("the key lives for %v, want until the bucket is full", ttl)
	}
}

func TestSharedOverARestartedRedis(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	server := redistest.Start(t)
	var fallbacks int
	f := newShared(t, newMemory(t, clk), server.Client(t), clk, func(error) { fallbacks++ })

	if n := drain(t, f, "createConvo", "a"); n != 20 {
		t.Errorf("%d before", n)
	}
	server.Kill()
	if take(t, f, "createConvo", "a").Allowed {
		t.Error("the outage opened the limit")
	}
	if fallbacks != 0 {
		t.Error("Redis is asked about what this process knows to be used up")
	}
	if n := drain(t, f, "createConvo", "b"); n != 20 || fallbacks == 0 {
		t.Errorf("%d during the outage, %d fallbacks", n, fallbacks)
	}
	server.Restart(t)
	clk.Advance(2 * time.Second)
	if take(t, f, "createConvo", "a").Allowed || take(t, f, "createConvo", "b").Allowed {
		t.Error("an empty Redis opened the limit")
	}
	was := fallbacks
	if !take(t, f, "createConvo", "c").Allowed || fallbacks != was {
		t.Error("Redis is not used again")
	}
}

// What the other servers used up is refused here, and remembered: it is not asked
// for again, and an outage gives nothing of it back.
func TestSharedObeysTheSharedCount(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	server := redistest.Start(t)
	client := server.Client(t)
	others := newShared(t, newMemory(t, clk), client, clk, func(error) {})
	l := newShared(t, newMemory(t, clk), client, clk, func(error) {})
	for range 17 {
		take(t, others, "createConvo", "a")
	}
	if r := take(t, l, "createConvo", "a"); !r.Allowed || r.Remaining != 2 {
		t.Errorf("after 17 elsewhere: %+v", r)
	}
	if n := drain(t, others, "createConvo", "a"); n != 2 {
		t.Errorf("%d of the last 2", n)
	}
	for range 100 {
		if r := take(t, l, "createConvo", "a"); r.Allowed || r.RetryAfter < 10*time.Second {
			t.Fatalf("%+v", r)
		}
	}
	server.Kill()
	if take(t, l, "createConvo", "a").Allowed {
		t.Error("the outage opened what others had used up")
	}
	clk.Advance(13 * time.Second)
	if !take(t, l, "createConvo", "a").Allowed || take(t, l, "createConvo", "a").Allowed {
		t.Error("want one token after 12 seconds")
	}
}

// What this process counted during an outage holds when Redis is back with less.
func TestOwnCountOutlivesAnOutage(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	own := newMemory(t, clk)
	l := newShared(t, own, redistest.Start(t).Client(t), clk, func(error) {})
	gone := redistest.Start(t)
	away := newShared(t, own, gone.Client(t), clk, func(error) {})
	gone.Kill()
	for range 5 {
		take(t, l, "createConvo", "a")
	}
	for range 10 {
		take(t, away, "createConvo", "a")
	}
	if r := take(t, l, "createConvo", "a"); !r.Allowed || r.Remaining != 4 {
		t.Errorf("the 16th of 20: %+v", r)
	}
}

// No name of a bucket outlives its minute, and a new one gives nobody a fresh
// allowance: not on this server, nor on another that saw the last request.
func TestKeysChangeWithTheWindow(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	// early in a window
	clk.Advance(window - clk.Now().Sub(clk.Now().Truncate(window)) + time.Second)
	client := redistest.Start(t).Client(t)
	first := newShared(t, newMemory(t, clk), client, clk, func(error) {})
	second := newShared(t, newMemory(t, clk), client, clk, func(error) {})
	seen := map[string]bool{}
	for minute := range 4 {
		drained := drain(t, first, "createConvo", "a")
		if want := 5; minute > 0 && drained != want {
			t.Errorf("minute %d: %d requests passed, want %d", minute, drained, want)
		}
		if take(t, second, "createConvo", "a").Allowed {
			t.Errorf("minute %d: another server has something left", minute)
		}
		keys, err := client.Keys(t.Context(), keyPrefix+"*").Result()
		if err != nil || len(keys) != 1 {
			t.Fatalf("minute %d: keys %v, %v", minute, keys, err)
		}
		if seen[keys[0]] {
			t.Errorf("minute %d has a key of an earlier one", minute)
		}
		seen[keys[0]] = true
		if ttl := client.PTTL(t.Context(), keys[0]).Val(); ttl <= 0 || ttl > window+windowSlack {
			t.Errorf("minute %d: the key lives for %v", minute, ttl)
		}
		if err := client.FlushAll(t.Context()).Err(); err != nil { // as the end of the window does
			t.Fatal(err)
		}
		clk.Advance(window)
	}
}

// A class that is private is counted here alone: Redis hears nothing of it.
func TestPrivateClasses(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	client := redistest.Start(t).Client(t)
	l := newShared(t, newMemory(t, clk), client, clk, func(error) {})
	alone := true
	l.cfg.Private = func(class string) bool { return alone && class == "sendMessage" }
	if n := drain(t, l, "sendMessage", "a"); n != 100 {
		t.Errorf("%d of 100 passed", n)
	}
	if n := client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys in Redis", n)
	}
	take(t, l, "createConvo", "a")
	alone = false
	if take(t, l, "sendMessage", "a").Allowed {
		t.Error("a second server gives a fresh allowance")
	}
	clk.Advance(2 * time.Second)
	take(t, l, "sendMessage", "a")
	if n := client.DBSize(t.Context()).Val(); n != 2 {
		t.Errorf("%d keys in Redis, want one for each class", n)
	}
}

// A caller who leaves says nothing about Redis: the next one is counted there.
func TestCallerWhoLeftIsNoOutage(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	client := redistest.Start(t).Client(t)
	others := newShared(t, newMemory(t, clk), client, clk, func(error) {})
	drain(t, others, "createConvo", "a")
	away := 0
	l := newShared(t, newMemory(t, clk), client, clk, func(error) { away++ })
	gone, leave := context.WithCancel(t.Context())
	leave()
	l.Take(gone, "createConvo", "b", 1)
	if take(t, l, "createConvo", "a").Allowed || away != 0 {
		t.Errorf("Redis is left alone after a caller left (%d fallbacks)", away)
	}
}
