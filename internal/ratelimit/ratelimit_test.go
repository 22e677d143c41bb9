package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/redistest"
)

type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func newTestClock() *testClock { return &testClock{now: time.Now().UTC()} }

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

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

var secret = []byte("0123456789abcdef")

func harnesses() map[string]func(t *testing.T) harness {
	memory := func(t *testing.T) (*Memory, *testClock) {
		t.Helper()
		clk := newTestClock()
		m, err := NewMemory(testRates, 0, clk)
		if err != nil {
			t.Fatal(err)
		}
		return m, clk
	}
	shared := func(t *testing.T) (*Redis, *redis.Client) {
		t.Helper()
		client := redistest.Start(t).Client(t)
		r, err := NewRedis(client, testRates, secret, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.timeout = 10 * time.Second
		return r, client
	}
	return map[string]func(t *testing.T) harness{
		"memory": func(t *testing.T) harness {
			t.Helper()
			m, clk := memory(t)
			return harness{m, clk.advance}
		},
		"redis": func(t *testing.T) harness {
			t.Helper()
			r, client := shared(t)
			return harness{r, func(d time.Duration) { age(t, client, d) }}
		},
		"fallback": func(t *testing.T) harness {
			t.Helper()
			m, clk := memory(t)
			r, client := shared(t)
			return harness{NewFallback(m, r, clk, nil), func(d time.Duration) {
				clk.advance(d)
				age(t, client, d)
			}}
		},
	}
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
	r, err := l.Take(t.Context(), class, subject)
	if err != nil {
		t.Fatalf("take: %v", err)
	}
	return r
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
			if r, err := h.Take(t.Context(), "createConvo", "racer"); err == nil && r.Allowed {
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
	clk := newTestClock()
	m, err := NewMemory(testRates, 0, clk)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		if n := drain(t, m, "sendMessage", fmt.Sprint("did:plc:", i)); n != 100 {
			t.Fatalf("caller %d got %d", i, n)
		}
	}
}

func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	clk := newTestClock()
	m, err := NewMemory(testRates, 640, clk)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20000 {
		take(t, m, ClassIP, strconv.Itoa(i))
		if i == 10000 {
			clk.advance(time.Hour)
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
	clk := newTestClock()
	m, err := NewMemory(testRates, 64*64, clk)
	if err != nil {
		t.Fatal(err)
	}
	drain(t, m, ClassIP, "abuser")
	for i := range 20000 {
		take(t, m, ClassIP, strconv.Itoa(i))
	}
	if take(t, m, ClassIP, "abuser").Allowed {
		t.Error("a flood of other subjects gave the limited one a fresh bucket")
	}
}

func TestRedisKeysHoldNoSubject(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	r, err := NewRedis(client, testRates, secret, nil)
	if err != nil {
		t.Fatal(err)
	}
	take(t, r, "createConvo", "did:plc:subject")
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

func TestFallbackOverARestartedRedis(t *testing.T) {
	t.Parallel()
	clk := newTestClock()
	server := redistest.Start(t)
	local, err := NewMemory(testRates, 0, clk)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := NewRedis(server.Client(t), testRates, secret, clk)
	if err != nil {
		t.Fatal(err)
	}
	var fallbacks int
	f := NewFallback(local, shared, clk, func() { fallbacks++ })

	if n := drain(t, f, "createConvo", "a"); n != 20 {
		t.Errorf("%d before", n)
	}
	server.Kill()
	if take(t, f, "createConvo", "a").Allowed {
		t.Error("the outage opened the limit")
	}
	if n := drain(t, f, "createConvo", "b"); n != 20 || fallbacks == 0 {
		t.Errorf("%d during the outage, %d fallbacks", n, fallbacks)
	}
	server.Restart(t)
	clk.advance(2 * time.Second)
	if take(t, f, "createConvo", "a").Allowed || take(t, f, "createConvo", "b").Allowed {
		t.Error("an empty Redis opened the limit")
	}
	was := fallbacks
	if !take(t, f, "createConvo", "c").Allowed || fallbacks != was {
		t.Error("Redis is not used again")
	}
}

// countingLimiter stands for a Redis that other servers use too.
type countingLimiter struct {
	result Result
	err    error
	calls  int
}

func (c *countingLimiter) Take(context.Context, string, string) (Result, error) {
	c.calls++
	return c.result, c.err
}

func TestFallbackObeysTheSharedCount(t *testing.T) {
	t.Parallel()
	clk := newTestClock()
	local, err := NewMemory(testRates, 0, clk)
	if err != nil {
		t.Fatal(err)
	}
	shared := &countingLimiter{result: Result{Allowed: false, Limit: 20, RetryAfter: 7 * time.Second}}
	f := NewFallback(local, shared, clk, nil)
	for range 100 {
		if r := take(t, f, "createConvo", "a"); r.Allowed || r.RetryAfter != 7*time.Second {
			t.Fatalf("%+v", r)
		}
	}
	// What the others used up did not cost this process' own allowance.
	shared.result = Result{Allowed: true, Limit: 20, Remaining: 3}
	if r := take(t, f, "createConvo", "a"); !r.Allowed || r.Remaining != 3 {
		t.Errorf("%+v", r)
	}
	shared.err = errors.New("down")
	take(t, f, "createConvo", "a")
	calls := shared.calls
	take(t, f, "createConvo", "a")
	if shared.calls != calls {
		t.Error("a limiter that just failed is asked again at once")
	}
	clk.advance(retryInterval)
	take(t, f, "createConvo", "a")
	if shared.calls != calls+1 {
		t.Error("a limiter that failed is not asked again")
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
		{ClassDefault: {1, 1}, "x": {maxRate + 1, 1}},
	} {
		if _, err := NewMemory(bad, 0, nil); err == nil {
			t.Errorf("%v is accepted", bad)
		}
	}
	if _, err := NewMemory(DefaultRates(), 0, nil); err != nil {
		t.Error(err)
	}
	if _, err := NewRedis(nil, DefaultRates(), make([]byte, 15), nil); err == nil {
		t.Error("a short secret is accepted")
	}
}

func BenchmarkMemory(b *testing.B) {
	m, err := NewMemory(DefaultRates(), 0, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Take(b.Context(), "sendMessage", "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"); err != nil {
			b.Fatal(err)
		}
	}
}
