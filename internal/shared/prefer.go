package shared

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"mls-server/internal/clock"
)

// RetryInterval is how long a shared store is left alone after it failed, so
// that requests do not all wait for its timeout.
const RetryInterval = time.Second

// ErrAway says that a shared store did not answer, or was not asked because it
// failed within the last RetryInterval: the caller uses what it has itself.
var ErrAway = errors.New("shared: the store is away")

// Prefer asks a shared store for as long as it answers. It is safe for
// concurrent use.
type Prefer struct {
	clock    clock.Clock
	onAway   func(error)
	failedAt atomic.Int64 // Unix nanoseconds, 0 before the first failure
}

// NewPrefer returns a Prefer. onAway is called each time that Ask returns ErrAway,
// with what the store said, or with ErrAway when it was not asked.
func NewPrefer(c clock.Clock, onAway func(error)) *Prefer { return &Prefer{clock: c, onAway: onAway} }

// Ask calls ask unless the store failed a moment ago. The error is nil when ask
// returned nil, ctx.Err() when the caller left meanwhile, and ErrAway in every
// other case.
func (p *Prefer) Ask(ctx context.Context, ask func() error) error {
	if p.FailedWithin(RetryInterval) {
		p.onAway(ErrAway)
		return ErrAway
	}
	err := ask()
	if err == nil {
		return nil
	}
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // that says nothing about the store
	}
	p.failedAt.Store(p.clock.Now().UnixNano())
	p.onAway(err)
	return ErrAway
}

// FailedWithin reports whether the store failed within the last d.
func (p *Prefer) FailedWithin(d time.Duration) bool {
	at := p.failedAt.Load()
	return at != 0 && p.clock.Now().UnixNano()-at < int64(d)
}
