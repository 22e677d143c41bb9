package seen_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mls-server/internal/clock/clocktest"
	"mls-server/internal/seen"
)

// days keeps what is written; away makes it fail.
type days struct {
	written map[string][]time.Time
	order   []string
	away    bool
}

func (d *days) SeeUsers(_ context.Context, users []string, at time.Time) error {
	if d.away {
		return errors.New("away")
	}
	for _, u := range users {
		d.written[u] = append(d.written[u], at)
		d.order = append(d.order, u)
	}
	return nil
}

// An account is written once a day, however often it comes, and not in the order of the requests.
func TestOnceADay(t *testing.T) {
	t.Parallel()
	clk, store := clocktest.New(), &days{written: map[string][]time.Time{}}
	d := seen.New(store.SeeUsers, clk)
	var came []string
	for i := range 1200 {
		came = append(came, fmt.Sprint("user ", i))
	}
	for range 3 {
		for _, u := range came {
			d.Note(u)
		}
		d.Flush(t.Context())
	}
	if len(store.order) != len(came) {
		t.Errorf("%d rows for %d users", len(store.order), len(came))
	}
	if slices.Equal(store.order, came) {
		t.Error("the rows tell the order of the requests")
	}
	clk.Advance(24 * time.Hour)
	d.Note(came[0])
	d.Flush(t.Context())
	if n := len(store.written[came[0]]); n != 2 {
		t.Errorf("%d days, want 2", n)
	}
}

// What a database that is away did not take is written later.
func TestNothingIsLostWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	store := &days{written: map[string][]time.Time{}, away: true}
	d := seen.New(store.SeeUsers, clocktest.New())
	d.Note("a")
	d.Flush(t.Context())
	d.Note("b")
	store.away = false
	d.Flush(t.Context())
	if len(store.written) != 2 {
		t.Errorf("written: %v", store.written)
	}
}

// When the server ends, what was noted is written.
func TestTheEndIsWritten(t *testing.T) {
	t.Parallel()
	store := &days{written: map[string][]time.Time{}}
	d := seen.New(store.SeeUsers, clocktest.New())
	d.Note("a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	d.Run(ctx)
	if len(store.written) != 1 {
		t.Errorf("written: %v", store.written)
	}
}
