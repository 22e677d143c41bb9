// Package clocktest has the clock of tests. Only tests import it.
package clocktest

import (
	"sync"
	"time"

	"mls-server/internal/clock"
)

// Manual is a clock that stands still until it is told to move. It is safe for
// concurrent use.
type Manual struct {
	mu  sync.Mutex
	now time.Time
}

var _ clock.Clock = (*Manual)(nil)

// New returns a clock that stands at the machine's time, in whole seconds, so
// that what others sign with their own clocks is valid.
func New() *Manual { return &Manual{now: time.Now().UTC().Truncate(time.Second)} }

// Now implements clock.Clock.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Advance moves the clock by d.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}
