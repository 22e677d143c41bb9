// Package seen notes on which day an account was last here, so that those who are away cannot hold
// back the others when a group has to be repaired.
//
// What is kept is a day (UTC) for each account. It is written by a timer, many accounts at a time
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

// Store keeps days. Package store implements it.
type Store interface {
	// SeeUsers notes that users were here on the day of at.
	SeeUsers(ctx context.Context, users []string, at time.Time) error
}

// Days notes accounts. It is safe for concurrent use.
type Days struct {
	store Store
	clock clock.Clock

	mu sync.Mutex
	// noted are the accounts of the day, those in waiting are not written yet.
	day     time.Time
	noted   map[string]struct{}
	waiting []string
}

// New returns Days that write to a store while Run runs.
func New(s Store, c clock.Clock) *Days {
	return &Days{store: s, clock: c, noted: map[string]struct{}{}}
}

// Note notes that an account is here. It costs a look into a map.
func (d *Days) Note(user string) {
	today := clock.Day(d.clock.Now())
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.day.Equal(today) {
		d.day, d.noted = today, map[string]struct{}{}
	}
	if _, ok := d.noted[user]; ok || len(d.noted) >= maxNoted {
		return
	}
	d.noted[user] = struct{}{}
	d.waiting = append(d.waiting, user)
}

// Run writes what was noted, from time to time and once more when ctx ends.
func (d *Days) Run(ctx context.Context) {
	for clock.Pause(ctx, interval) == nil {
		d.Flush(ctx)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), interval/10)
	defer cancel()
	d.Flush(last)
}

// Flush writes what was noted. What cannot be written stays.
func (d *Days) Flush(ctx context.Context) {
	d.mu.Lock()
	users := d.waiting
	d.waiting = nil
	d.mu.Unlock()
	rand.Shuffle(len(users), func(i, j int) { users[i], users[j] = users[j], users[i] }) //nolint:gosec // not a secret
	for len(users) > 0 {
		n := min(len(users), batch)
		if err := d.store.SeeUsers(ctx, users[:n], d.clock.Now()); err != nil {
			d.mu.Lock()
			d.waiting = append(d.waiting, users...)
			d.mu.Unlock()
			return
		}
		users = users[n:]
	}
}
