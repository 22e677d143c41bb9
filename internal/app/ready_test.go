package app

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"mls-server/internal/clock/clocktest"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
)

// A server whose streams wait for another transaction for half a minute is not ready, and says why;
// and so is one that has learnt nothing of refused accounts for as long.
func TestReadyTellsTheLag(t *testing.T) {
	t.Parallel()
	s, err := store.New(t.Context(), store.Config{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	var lag, age time.Duration
	manual := clocktest.New()
	h := &health{store: s, lag: func() time.Duration { return lag }, clock: manual, full: func() bool { return false }, known: func(context.Context) bool { return true }, age: func() time.Duration { return age }}
	for _, c := range []struct {
		lag, age time.Duration
		want     string
	}{
		{0, 0, ""},
		{29 * time.Second, 0, ""},
		{30 * time.Second, 0, "event-log"},
		{time.Hour, 0, "event-log"},
		{0, 0, ""},
		{0, 29 * time.Second, ""},
		{0, 30 * time.Second, "accounts"},
		{time.Hour, time.Hour, "accounts"},
		{0, 0, ""},
	} {
		lag, age = c.lag, c.age
		manual.Advance(readyFor)
		if got := h.check(t.Context()); got != c.want {
			t.Errorf("with a lag of %v and states of %v ago the reason is %q, want %q", c.lag, c.age, got, c.want)
		}
	}
}

func TestAway(t *testing.T) {
	t.Parallel()
	if got := away(fmt.Errorf("ping: %w", errors.Join(errors.New("busy"), store.ErrStandby))); got != "standby" {
		t.Errorf("a standby is %q", got)
	}
	if got := away(errors.New("refused")); got != "database" {
		t.Errorf("a refused connection is %q", got)
	}
}
