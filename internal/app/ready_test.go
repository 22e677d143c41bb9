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

// A server whose streams wait for another transaction for half a minute is not
// ready, and says why.
func TestReadyTellsTheLag(t *testing.T) {
	t.Parallel()
	s, err := store.New(t.Context(), store.Config{URL: pgtest.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	var lag time.Duration
	manual := clocktest.New()
	h := &health{store: s, lag: func() time.Duration { return lag }, clock: manual, full: func() bool { return false }, known: func(context.Context) bool { return true }}
	for _, c := range []struct {
		lag  time.Duration
		want string
	}{{0, ""}, {29 * time.Second, ""}, {30 * time.Second, "event-log"}, {time.Hour, "event-log"}, {0, ""}} {
		lag = c.lag
		manual.Advance(readyFor)
		if got := h.check(t.Context()); got != c.want {
			t.Errorf("with a lag of %v the reason is %q, want %q", c.lag, got, c.want)
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
