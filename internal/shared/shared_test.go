package shared_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/clock/clocktest"
	"mls-server/internal/redistest"
	"mls-server/internal/shared"
)

func TestHasherKeepsListsApart(t *testing.T) {
	t.Parallel()
	h, err := shared.NewHasher([]byte("0123456789abcdef"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := shared.NewHasher([]byte("0123456789abcdeX"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[[32]byte]string{}
	for what, sum := range map[string][32]byte{
		"issuer and jti":         h.Sum(shared.PurposeToken, "did:web:a.co", "mx"),
		"the border moved":       h.Sum(shared.PurposeToken, "did:web:a.com", "x"),
		"one part":               h.Sum(shared.PurposeToken, "did:web:a.comx"),
		"an empty first part":    h.Sum(shared.PurposeToken, "", "did:web:a.comx"),
		"an empty last part":     h.Sum(shared.PurposeToken, "did:web:a.comx", ""),
		"nothing":                h.Sum(shared.PurposeToken),
		"for a limit":            h.Sum(shared.PurposeRate, "did:web:a.co", "mx"),
		"for a log":              h.Sum(shared.PurposeLog, "did:web:a.co", "mx"),
		"under another secret":   other.Sum(shared.PurposeToken, "did:web:a.co", "mx"),
		"a part over the buffer": h.Sum(shared.PurposeToken, fmt.Sprintf("%01000d", 0), "x"),
	} {
		if twin, ok := seen[sum]; ok {
			t.Errorf("%s and %s have one hash", what, twin)
		}
		seen[sum] = what
	}
	if first, second := h.Sum(shared.PurposeToken, "a", "b"), h.Sum(shared.PurposeToken, "a", "b"); first != second {
		t.Error("equal parts have two hashes")
	}
	if _, err := shared.NewHasher(make([]byte, shared.MinSecret-1)); err == nil {
		t.Error("a short secret is accepted")
	}
}

func key(n int) (k shared.Key) {
	binary.LittleEndian.PutUint64(k[:], uint64(n))
	binary.LittleEndian.PutUint64(k[8:], uint64(n))
	return k
}

// hold keeps k for d and reports for how long it was kept before.
func hold(t *testing.T, b *shared.Bounded, k shared.Key, d time.Duration) (before time.Duration, err error) {
	t.Helper()
	err = b.Change(k, func(now, end time.Time) time.Time {
		before = end.Sub(now)
		return now.Add(d)
	})
	return before, err
}

func TestBoundedKeepsUntilTheEnd(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	b := shared.NewBounded(100, shared.Refuse, clk)
	for i, want := range []time.Duration{0, time.Minute, time.Minute} {
		if got, err := hold(t, b, key(1), time.Minute); err != nil || got != want {
			t.Errorf("change %d: held for %v, %v; want %v", i, got, err, want)
		}
	}
	clk.Advance(time.Minute - 1)
	if b.Len() != 1 {
		t.Error("dropped before its end")
	}
	clk.Advance(1)
	if got, _ := hold(t, b, key(1), 0); got != 0 || b.Len() != 0 {
		t.Errorf("at its end: %v, %d", got, b.Len())
	}
	// What has ended a while ago, and was not swept yet, is as if it had never been.
	_, _ = hold(t, b, key(3), time.Millisecond)
	clk.Advance(time.Second / 10)
	if got, _ := hold(t, b, key(3), 0); got != 0 {
		t.Errorf("after its end: %v", got)
	}
	_, _ = hold(t, b, key(2), time.Minute)
	if _, _ = hold(t, b, key(2), -time.Second); b.Len() != 0 {
		t.Error("an end in the past keeps an entry")
	}
}

func TestBoundedRefusesOrForgets(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	refuses, forgets := shared.NewBounded(3, shared.Refuse, clk), shared.NewBounded(3, shared.Forget, clk)
	for i := range 3 {
		for _, b := range []*shared.Bounded{refuses, forgets} {
			if b.Full() {
				t.Errorf("full with %d of 3", i)
			}
			if _, err := hold(t, b, key(i), time.Duration(3-i)*time.Minute); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := hold(t, refuses, key(9), time.Hour); !errors.Is(err, shared.ErrFull) || !refuses.Full() {
		t.Errorf("beyond its bound: %v, full %v", err, refuses.Full())
	}
	if _, err := hold(t, refuses, key(0), time.Hour); err != nil {
		t.Errorf("a key that is held: %v", err)
	}
	if _, err := hold(t, forgets, key(9), time.Hour); err != nil || forgets.Len() != 3 {
		t.Errorf("forgetting: %v, %d entries", err, forgets.Len())
	}
	if got, _ := hold(t, forgets, key(2), 0); got != 0 {
		t.Error("forgot another than the one that ends first")
	}
	clk.Advance(time.Minute)
	if refuses.Full() {
		t.Error("full although an entry has ended")
	}
	if _, err := hold(t, refuses, key(9), time.Hour); err != nil {
		t.Errorf("after an entry ended: %v", err)
	}
}

func TestBoundedChangesExcludeEachOther(t *testing.T) {
	t.Parallel()
	b := shared.NewBounded(100, shared.Refuse, clocktest.New())
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_ = b.Change(key(1), func(_, end time.Time) time.Time { return end.Add(time.Second) })
		})
	}
	wg.Wait()
	if got, _ := hold(t, b, key(1), 0); got != 100*time.Second {
		t.Errorf("100 changes of a second each came to %v", got)
	}
}

func TestPrefer(t *testing.T) {
	t.Parallel()
	clk := clocktest.New()
	var away, asked int
	p := shared.NewPrefer(clk, func(error) { away++ })
	ask := func(ctx context.Context, err error) error {
		return p.Ask(ctx, func() error { asked++; return err })
	}
	down := errors.New("down")
	want := func(what string, err, wantErr error, wantAsked, wantAway int) {
		t.Helper()
		if !errors.Is(err, wantErr) || asked != wantAsked || away != wantAway {
			t.Errorf("%s: %v, asked %d, away %d; want %v, %d, %d", what, err, asked, away, wantErr, wantAsked, wantAway)
		}
	}
	want("up", ask(t.Context(), nil), nil, 1, 0)
	gone, leave := context.WithCancel(t.Context())
	leave()
	want("caller left", ask(gone, gone.Err()), context.Canceled, 2, 0)
	want("next caller", ask(t.Context(), nil), nil, 3, 0)
	if p.FailedWithin(time.Hour) {
		t.Error("a caller who left counts as a failure")
	}
	late, end := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer end()
	want("too slow for its caller", ask(late, late.Err()), shared.ErrAway, 4, 1)
	want("left alone", ask(t.Context(), nil), shared.ErrAway, 4, 2)
	clk.Advance(shared.RetryInterval - 1)
	want("still left alone", ask(t.Context(), nil), shared.ErrAway, 4, 3)
	clk.Advance(1)
	want("asked again", ask(t.Context(), down), shared.ErrAway, 5, 4)
	clk.Advance(shared.RetryInterval)
	want("back", ask(t.Context(), nil), nil, 6, 4)
	if !p.FailedWithin(time.Minute) || p.FailedWithin(shared.RetryInterval) {
		t.Error("when it failed is not remembered")
	}
}

func TestSetNewIsWonOnce(t *testing.T) {
	t.Parallel()
	r := shared.NewRedis(redistest.Start(t).Client(t), 10*time.Second)
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if fresh, err := r.SetNew(t.Context(), "k", time.Now().Add(time.Minute)); err == nil && fresh {
				won.Add(1)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Errorf("%d of 50 won", won.Load())
	}
}
