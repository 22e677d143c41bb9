package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"mls-server/internal/clock"
)

const (
	// chainMemory is how many of its own tokens a process remembers in front of
	// the shared stores: 20 MB at most.
	chainMemory = 1 << 17
	// chainRetry is how long the first store is left alone after it failed, so
	// that requests do not all wait for its timeout.
	chainRetry = time.Second
	// chainWary is how long after its last failure the first store is not
	// believed alone: no token outlives its use by more.
	chainWary = MaxLifetime + 2*Leeway
)

// ReplayChain makes one store of used tokens out of a fast one that may fail or
// forget (Redis) and a slow one that does not (PostgreSQL).
//
//   - What this process accepted itself, it does not accept again, whatever the
//     stores say: a Redis that comes back empty opens nothing here.
//   - When the fast store fails, the slow one decides.
//   - For as long as a token used during that time could come back, both must
//     agree that a token is new.
//   - When both fail, Use returns an error and the token is refused.
//
// What is left: a token that another process accepted through the fast store,
// moments before that store was lost, is unknown to this one until it expires;
// so is one that was used during an outage which this process was not there for.
type ReplayChain struct {
	memory     *MemoryReplays
	fast, slow ReplayStore
	clock      clock.Clock
	onFallback func()

	mu         sync.Mutex
	retryAt    time.Time // the fast store is not asked before
	suspicious time.Time // the slow store is asked too until then
}

var _ ReplayStore = (*ReplayChain)(nil)

// NewReplayChain returns a chain. fast may be nil. onFallback, when not nil, is
// called each time the fast store could not decide.
func NewReplayChain(fast, slow ReplayStore, c clock.Clock, onFallback func()) *ReplayChain {
	if c == nil {
		c = clock.System
	}
	if onFallback == nil {
		onFallback = func() {}
	}
	memory := NewMemoryReplays(chainMemory, c)
	memory.evict = true // it is a second guard here, so it may forget the oldest
	return &ReplayChain{memory: memory, fast: fast, slow: slow, clock: c, onFallback: onFallback}
}

// Use implements ReplayStore.
func (r *ReplayChain) Use(ctx context.Context, key [32]byte, expires time.Time) (bool, error) {
	if fresh, err := r.memory.Use(ctx, key, expires); err != nil || !fresh {
		return false, err
	}
	fresh, err := r.ask(ctx, key, expires)
	if err != nil {
		r.memory.forget(key) // it was not accepted, so it may be tried again
	}
	return fresh, err
}

func (r *ReplayChain) ask(ctx context.Context, key [32]byte, expires time.Time) (bool, error) {
	if r.fast == nil {
		return r.slow.Use(ctx, key, expires)
	}
	askFast, askSlow := r.plan()
	if askFast {
		fresh, err := r.fast.Use(ctx, key, expires)
		switch {
		case err == nil && !fresh:
			return false, nil
		case err == nil && !askSlow:
			return true, nil
		case err != nil && errors.Is(ctx.Err(), context.Canceled):
			return false, ctx.Err() // the caller left; that says nothing about the store
		case err != nil:
			r.failed()
		}
	}
	return r.slow.Use(ctx, key, expires)
}

// plan says which stores to ask now. If the fast one is not asked, the slow one is.
func (r *ReplayChain) plan() (askFast, askSlow bool) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Before(r.retryAt) {
		r.onFallback()
		return false, true
	}
	return true, now.Before(r.suspicious)
}

func (r *ReplayChain) failed() {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.retryAt = now.Add(chainRetry)
	r.suspicious = now.Add(chainWary)
	r.onFallback()
}
