package ratelimit

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"mls-server/internal/clock"
)

// retryInterval is how long a shared limiter is left alone after it failed, so
// that requests do not all wait for its timeout.
const retryInterval = time.Second

// Fallback counts in a shared limiter, and in this process too. The process'
// own count is what remains when the shared limiter fails; it is never behind,
// so neither an outage nor a shared limiter that comes back empty gives anybody
// a fresh allowance here. It is safe for concurrent use.
type Fallback struct {
	local      *Memory
	shared     Limiter
	clock      clock.Clock
	onFallback func()
	retryAt    atomic.Int64 // Unix nanoseconds
}

var _ Limiter = (*Fallback)(nil)

// NewFallback returns a limiter over both. onFallback, when not nil, is called
// for each request that the shared limiter could not count.
func NewFallback(local *Memory, shared Limiter, c clock.Clock, onFallback func()) *Fallback {
	if c == nil {
		c = clock.System
	}
	if onFallback == nil {
		onFallback = func() {}
	}
	return &Fallback{local: local, shared: shared, clock: c, onFallback: onFallback}
}

// Take implements Limiter. It never returns an error.
func (f *Fallback) Take(ctx context.Context, class, subject string) (Result, error) {
	own, err := f.local.Take(ctx, class, subject)
	if err != nil || !own.Allowed {
		// This process alone has used the allowance up, so all together have.
		return own, err
	}
	now := f.clock.Now()
	if now.UnixNano() < f.retryAt.Load() {
		f.onFallback()
		return own, nil
	}
	all, err := f.shared.Take(ctx, class, subject)
	switch {
	case err != nil:
		if !errors.Is(ctx.Err(), context.Canceled) { // a caller who left says nothing about Redis
			f.retryAt.Store(now.Add(retryInterval).UnixNano())
		}
		f.onFallback()
		return own, nil
	case !all.Allowed:
		f.local.refund(class, subject)
	case own.Remaining < all.Remaining:
		return own, nil
	}
	return all, nil
}
