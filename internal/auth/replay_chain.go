package auth

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

const (
	// chainMemory is how many of its own tokens a process remembers in front of
	// the shared stores: 20 MB at most.
	chainMemory = 1 << 17
	// chainWary is how long after its last failure the first store is not
	// believed alone: no token outlives its use by more.
	chainWary = MaxLifetime + 2*Leeway + shared.RetryInterval
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
	prefer     *shared.Prefer
}

var _ ReplayStore = (*ReplayChain)(nil)

// NewReplayChain returns a chain. onAway is called each time that the fast store
// could not decide.
func NewReplayChain(fast, slow ReplayStore, c clock.Clock, onAway func(error)) *ReplayChain {
	// The memory is a second guard here, so it may forget.
	memory := &MemoryReplays{until: shared.NewBounded(chainMemory, shared.Forget, c)}
	return &ReplayChain{memory: memory, fast: fast, slow: slow, prefer: shared.NewPrefer(c, onAway)}
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

func (r *ReplayChain) ask(ctx context.Context, key [32]byte, expires time.Time) (fresh bool, err error) {
	wary := r.prefer.FailedWithin(chainWary)
	err = r.prefer.Ask(ctx, func() (err error) {
		fresh, err = r.fast.Use(ctx, key, expires)
		return err
	})
	switch {
	case err == nil && (!fresh || !wary):
		return fresh, nil
	case err != nil && !errors.Is(err, shared.ErrAway):
		return false, err // the caller left
	}
	return r.slow.Use(ctx, key, expires)
}
