// Package clock is the only place that reads the time of day. Everything else
// is handed a Clock, so that tests decide what time it is.
package clock

import (
	"context"
	"time"
)

// Clock tells the time.
type Clock interface {
	// Now returns the current time in UTC.
	Now() time.Time
}

// System is the clock of the machine.
var System Clock = system{}

type system struct{}

func (system) Now() time.Time { return time.Now().UTC() }

// Pause waits for d, or for the end of ctx, whose error it then returns.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// BucketSize is how coarse every time is that belongs to a message (I8).
const BucketSize = 2 * time.Second

// Bucket floors t to BucketSize, in UTC. No stored time and no visible time of a
// message is finer than this.
func Bucket(t time.Time) time.Time { return t.UTC().Truncate(BucketSize) }

// Day floors t to the day, in UTC: for what is stored and needs to be known no finer.
func Day(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }
