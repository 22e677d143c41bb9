// Package seen notes on which day an account, or a device, was last here: accounts that are away
// cannot hold back the others when a group has to be repaired, and devices that are gone can be
// told from those in use.
//
// What is kept is a day (UTC) for each. It is written by a timer, many at a time
// in an order that says nothing, so that no row leads to a request; and requests that send messages
// are not noted at all (I7). What a process has not written yet is lost when it is killed, which
// costs nothing but the day of some accounts. The package must not log.
package seen

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"mls-server/internal/clock"
)

const (
	// interval is how often what was noted is written.
	interval = 30 * time.Second
	// batch is how many accounts one statement writes.
	batch = 500
	// maxNoted bounds the accounts that a process remembers for a day. Those beyond it are not
	// noted.
	maxNoted = 1_000_000
)

// Write notes that some were here on the day of at.
type Write[K comparable] func(ctx context.Context, who []K, at time.Time) error

// Days notes who was here. It is safe for concurrent use.
type Days[K comparable] struct {
	write Write[K]
	clock clock.Clock

	mu sync.Mutex
	// noted are those of the day, those in waiting are not written yet.
	day     time.Time
	noted   map[K]struct{}
	waiting []K
}

// New returns Days that are written while Run runs.
func New[K comparable](write Write[K], c clock.Clock) *Days[K] {
	return &Days[K]{write: write, clock: c, noted: map[K]struct{}{}}
}

// Note notes that somebody is here. It costs a look into a map.
func (d *Days[K]) Note(who K) {
	today := clock.Day(d.clock.Now())
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.day.Equal(today) {
		d.day, d.noted = today, map[K]struct{}{}
	}
	if _, ok := d.noted[who]; ok || len(d.noted) >= maxNoted {
		return
	}
	d.noted[who] = struct{}{}
	d.waiting = append(d.waiting, who)
}

// Run writes what was noted, from time to time and once more when ctx ends.
func (d *Days[K]) Run(ctx context.Context) {
	for clock.Pause(ctx, interval) == nil {
		d.Flush(ctx)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), interval/10)
	defer cancel()
	d.Flush(last)
}

// Flush writes what was noted. What cannot be written stays.
func (d *Days[K]) Flush(ctx context.Context) {
	d.mu.Lock()
	waiting := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	rand.Shuffle(len(waiting), func(i, j int) { waiting[i], waiting[j] = waiting[j], waiting[i] }) //nolint:gosec // not a secret
	for len(waiting) > 0 {
		n := min(len(waiting), batch)
		if err := d.write(ctx, waiting[:n], d.clock.Now()); err != nil {
			d.mu.Lock()
			d.waiting = append(d.waiting, waiting...)
			d.mu.Unlock()
			return
		}
		waiting = waiting[n:]
	}
}
