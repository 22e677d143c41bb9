package auth

import (
	"sync"
	"time"

	"mls-server/internal/clock"
)

const (
	// outageAfter is how many fetches in a row fail before a directory counts as
	// away: one document that it cannot serve must not shut out everybody else.
	outageAfter = 5
	// probeInterval is how often a directory that is away is asked.
	probeInterval = 5 * time.Second
)

// outage remembers whether a directory answers, so that not every request waits
// for one that does not. It is safe for concurrent use.
type outage struct {
	clock clock.Clock

	mu      sync.Mutex
	failed  int       // fetches in a row
	probeAt time.Time // while the directory is away: when it may be asked again
}

// away reports whether the directory is not to be asked now. Of the callers who
// come after probeInterval, one is told to ask.
func (o *outage) away() bool {
	now := o.clock.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed < outageAfter {
		return false
	}
	if now.Before(o.probeAt) {
		return true
	}
	o.probeAt = now.Add(probeInterval)
	return false
}

// report says how a fetch ended.
func (o *outage) report(answered bool) {
	now := o.clock.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if answered {
		o.failed = 0
		return
	}
	if o.failed++; o.failed >= outageAfter {
		o.probeAt = now.Add(probeInterval)
	}
}
