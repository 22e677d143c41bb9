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

func (f forgetful) Give(ctx context.Context, class, subject string, cost int) {
	f.fresh().Give(ctx, class, subject, cost)
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
				"gives":    testGives,
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

// What is given back can be taken again, and no bucket holds more than it does.
func testGives(t *testing.T, h harness) {
	t.Helper()
	take(t, h, "single", "a")
	if take(t, h, "single", "a").Allowed {
		t.Error("two tokens of a bucket of one")
	}
	for range 3 {
		h.Give(t.Context(), "single", "a", 1)
	}
	if !take(t, h, "single", "a").Allowed || take(t, h, "single", "a").Allowed {
		t.Error("want one token after it was given back")
	}
	h.Give(t.Context(), "single", "b", 1) // a bucket that nobody took from
	if !take(t, h, "single", "b").Allowed || take(t, h, "single", "b").Allowed {
		t.Error("want one token of a bucket that was full")
	}
	for range 3 {
		take(t, h, "createConvo", "a")
	}
	h.Give(t.Context(), "createConvo", "a", 2)
	if r := take(t, h, "createConvo", "a"); r.Remaining != 18 {
		t.Errorf("%d remain of 20, after three were taken, two given back and one taken", r.Remaining)
	}
}
