package ratelimit

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
	"mls-server/internal/clock/clocktest"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
)

var testRates = map[string]Rate{
	"sendMessage": {100, 100},
	"createConvo": {5, 20},
	"single":      {1, 1},
	ClassDefault:  {6, 3},
	ClassIP:       {60, 30},
}

// harness is a limiter whose time the test moves.
type harness struct {
	Limiter
	advance func(d time.Duration)
}

func harnesses() map[string]func(t *testing.T) harness {
	memory := func(t *testing.T) (*Memory, *clocktest.Manual) {
		t.Helper()
		clk := clocktest.New()
		return newMemory(t, clk), clk
	}
	return map[string]func(t *testing.T) harness{
		"memory": func(t *testing.T) harness {
			t.Helper()
			m, clk := memory(t)
			return harness{m, clk.Advance}
		},
		// With a process of its own for each request only Redis knows what was counted.
		"redis alone": func(t *testing.T) harness {
			t.Helper()
			client := redistest.Start(t).Client(t)
			fresh := func() Limiter {
				return newShared(t, newMemory(t, clock.System), client, clock.System, func(error) { t.Error("Redis did not count") })
			}
			return harness{forgetful{fresh}, func(d time.Duration) { age(t, client, d) }}
		},
		"redis": func(t *testing.T) harness {
			t.Helper()
			m, clk := memory(t)
			client := redistest.Start(t).Client(t)
			return harness{newShared(t, m, client, clk, func(error) { t.Error("Redis did not count") }), func(d time.Duration) {
				clk.Advance(d)
				age(t, client, d)
			}}
		},
	}
}

// forgetful asks a new limiter each time.
type forgetful struct{ fresh func() Limiter }

func (f forgetful) Take(ctx context.Context, class, subject string, cost int) Result {
	return f.fresh().Take(ctx, class, subject, cost)
}

func (f forgetful) Peek(class, subject string) Result { return f.fresh().Peek(class, subject) }

func newMemory(tb testing.TB, c clock.Clock) *Memory {
	tb.Helper()
	m, err := NewMemory(testRates, c)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

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

func take(t *testing.T, l Limiter, class, subject string) Result {
	t.Helper()
	return l.Take(t.Context(), class, subject, 1)
}

// drain takes until it is refused and returns how often it was not. Real time
// goes on meanwhile in Redis, so a token may have flowed in.
func drain(t *testing.T, l Limiter, class, subject string) int {
	t.Helper()
	for n := range 1000 {
		if !take(t, l, class, subject).Allowed {
			return n
		}
	}
	t.Fatal("never refused")
	return 0
}

func TestLimiters(t *testing.T) {
	t.Parallel()
	for name, open := range harnesses() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for test, run := range map[string]func(*testing.T, harness){
				"buckets":  testBuckets,
				"results":  testResults,
				"refills":  testRefills,
				"subjects": testSubjects,
				"races":    testRaces,
				"cost":     testCost,
			} {
				t.Run(test, func(t *testing.T) {
					t.Parallel()
					run(t, open(t))
				})
			}
		})
	}
}

func testBuckets(t *testing.T, h harness) {
	t.Helper()
	start := time.Now()
	for class, want := range map[string]int{"sendMessage": 100, "createConvo": 20, "single": 1, ClassIP: 30, "unheardOf": 3} {
		got := drain(t, h, class, "a")
		flowed := int(time.Since(start).Seconds()*2) + 1 // 100 a minute is the fastest of them
		if got < want || got > want+flowed {
			t.Errorf("%s: %d requests passed, want %d", class, got, want)
		}
	}
}

func testResults(t *testing.T, h harness) {
	t.Helper()
	r := take(t, h, "createConvo", "a")
	if !r.Allowed || r.Limit != 20 || r.Remaining != 19 || r.Window != 4*time.Minute || r.RetryAfter != 0 {
		t.Errorf("first: %+v", r)
	}
	for i := 18; i >= 0; i-- {
		if r = take(t, h, "createConvo", "a"); r.Remaining != i {
			t.Errorf("remaining %d, want %d", r.Remaining, i)
		}
	}
	before := r.Reset
	r = take(t, h, "createConvo", "a")
	if r.Allowed || r.Limit != 20 || r.Remaining != 0 || r.RetryAfter < 10*time.Second || r.RetryAfter > 12*time.Second {
		t.Errorf("refused: %+v", r)
	}
	if r.RetryAfter%time.Second != 0 {
		t.Errorf("retry after %v is not whole seconds", r.RetryAfter)
	}
	if d := r.Reset.Sub(before).Abs(); d > 2*time.Second {
		t.Errorf("a refused request moved the reset by %v", d)
	}
	drain(t, h, "sendMessage", "a")
	if r = take(t, h, "sendMessage", "a"); !r.Allowed && r.RetryAfter != time.Second {
		t.Errorf("the least retry after is a second, got %v", r.RetryAfter)
	}
}

func testRefills(t *testing.T, h harness) {
	t.Helper()
	drain(t, h, "createConvo", "a")
	h.advance(11 * time.Second)
	if take(t, h, "createConvo", "a").Allowed {
		t.Error("a token before its time")
	}
	h.advance(2 * time.Second)
	if !take(t, h, "createConvo", "a").Allowed || take(t, h, "createConvo", "a").Allowed {
		t.Error("want one token after 12 seconds")
	}
	// Refused requests cost nothing, so hammering does not keep the door shut.
	for range 50 {
		take(t, h, "createConvo", "a")
	}
	h.advance(time.Minute)
	if n := drain(t, h, "createConvo", "a"); n != 5 {
		t.Errorf("%d tokens after a minute, want 5", n)
	}
	h.advance(24 * time.Hour)
	if n := drain(t, h, "createConvo", "a"); n != 20 {
		t.Errorf("%d tokens after a day, want the burst of 20", n)
	}
}

func testSubjects(t *testing.T, h harness) {
	t.Helper()
	drain(t, h, ClassDefault, "a")
	for _, subject := range []string{"b", "", "A", "a ", strings.Repeat("x", 5000)} {
		if !take(t, h, ClassDefault, subject).Allowed {
			t.Errorf("subject %q shares a bucket with another", subject)
		}
	}
	if !take(t, h, "unheardOf", "a").Allowed {
		t.Error("classes share a bucket")
	}
	// Class and subject cannot be shifted into one another.
	drain(t, h, "ab", "c")
	if !take(t, h, "a", "bc").Allowed {
		t.Error("(ab, c) and (a, bc) share a bucket")
	}
}

func testRaces(t *testing.T, h harness) {
	t.Helper()
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if h.Take(t.Context(), "createConvo", "racer", 1).Allowed {
				allowed.Add(1)
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 20 {
		t.Errorf("%d of 40 racing requests passed, want 20", n)
	}
}

// 500 callers do not disturb each other, wherever they come from.
func TestManyCallers(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	m := newMemory(t, clk)
	for i := range 500 {
		if n := drain(t, m, "sendMessage", fmt.Sprint("did:plc:", i)); n != 100 {
			t.Fatalf("caller %d got %d", i, n)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	m := newMemory(t, clk)
	m.full = shared.NewBounded(640, shared.Forget, clk)
	for i := range 20000 {
		take(t, m, ClassIP, strconv.Itoa(i))
		if i == 10000 {
			clk.Advance(time.Hour)
		}
	}
	if n := m.Len(); n > 640 {
		t.Errorf("%d buckets, want at most 640", n)
	}
}

// A flood of new subjects pushes out those that are nearly full, not the one
// that is being held back.
func TestEvictionSparesTheLimited(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	m := newMemory(t, clk)
	m.full = shared.NewBounded(4096, shared.Forget, clk)
	drain(t, m, ClassIP, "abuser")
	for i := range 20000 {
		take(t, m, ClassIP, strconv.Itoa(i))
	}
	if take(t, m, ClassIP, "abuser").Allowed {
		t.Error("a flood of other subjects gave the limited one a fresh bucket")
	}
}

// Cost is taken whole or not at all.
func testCost(t *testing.T, h harness) {
	t.Helper()
	take := func(cost int) Result { return h.Take(t.Context(), "createConvo", "a", cost) }
	if r := take(15); !r.Allowed || r.Remaining != 5 {
		t.Errorf("15 of 20: %+v", r)
	}
	if r := take(6); r.Allowed || r.RetryAfter < 10*time.Second || r.RetryAfter > 12*time.Second {
		t.Errorf("6 of 5: %+v", r)
	}
	if r := take(5); !r.Allowed || r.Remaining != 0 {
		t.Errorf("5 of 5: %+v", r)
	}
	h.advance(24 * time.Hour)
	for _, cost := range []int{21, 1 << 40} {
		if r := take(cost); r.Allowed || r.RetryAfter < time.Second {
			t.Errorf("%d of 20: %+v", cost, r)
		}
	}
	if r := take(-1); !r.Allowed || r.Remaining != 19 {
		t.Errorf("nothing costs less than one: %+v", r)
	}
}

// A peek tells the state and takes nothing.
func TestPeek(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	client := redistest.Start(t).Client(t)
	for name, l := range map[string]Limiter{
		"memory": newMemory(t, clk),
		"redis":  newShared(t, newMemory(t, clk), client, clk, func(error) {}),
	} {
		for range 50 {
			if r := l.Peek(ClassIP, "a"); !r.Allowed || r.Remaining != 30 || r.Limit != 30 {
				t.Fatalf("%s: %+v", name, r)
			}
		}
		drain(t, l, ClassIP, "a")
		if r := l.Peek(ClassIP, "a"); r.Allowed || r.RetryAfter != time.Second {
			t.Errorf("%s, empty: %+v", name, r)
		}
		if !l.Peek(ClassIP, "b").Allowed {
			t.Errorf("%s: another subject is refused", name)
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

func TestRatesAreChecked(t *testing.T) {
	t.Parallel()
	for _, bad := range []map[string]Rate{
		nil,
		{"x": {1, 1}},
		{ClassDefault: {0, 1}},
		{ClassDefault: {1, 0}},
		{ClassDefault: {1, 1}, "x": {-1, 1}},
		{ClassDefault: {1, 1}, "x": {MaxRate + 1, 1}},
		{ClassDefault: {1, 1}, "x": {1, MaxRate + 1}},
	} {
		if _, err := NewMemory(bad, clock.System); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
	if _, err := NewMemory(map[string]Rate{ClassDefault: {MaxRate, MaxRate}}, clock.System); err != nil {
		t.Error(err)
	}
}

func BenchmarkMemory(b *testing.B) {
	m := newMemory(b, clock.System)
	b.ReportAllocs()
	for b.Loop() {
		m.Take(b.Context(), "sendMessage", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", 1)
	}
}
