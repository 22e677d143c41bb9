// Package accounts knows which accounts are refused, and tells of it within a second.
//
// An account is refused because the operator has suspended it, because its host says that it is
// taken down or not there, or because it is being erased. The database is where that is written
// down, and every server keeps all of it in memory: a request costs a look into a map. A poll reads
// what was changed since the last one, so that no connection has to be kept, and none can be lost
// unnoticed. While the database is away, what was known last holds, and Age says how old it is.
//
// It must not decide who is suspended, and must not log or count anything that names a user (I9).
package accounts

import (
	"context"
	"maps"
	"sync"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	// poll is how often changes are looked for.
	poll = 250 * time.Millisecond
	// pageStates is how many states are read at once.
	pageStates = 5000
	// readTimeout ends a look at a database that hangs.
	readTimeout = 10 * time.Second
	// leeway is how far apart the clocks of an account's host and of a Jetstream may be.
	leeway = 30 * time.Second
)

// Store is the part of the database that a Watch needs. *store.Store implements it.
type Store interface {
	AccountChanges(ctx context.Context) (store.AccountChanges, error)
	ListAccountStates(ctx context.Context, after int64, limit int) ([]store.AccountState, error)
	SetHostStatus(ctx context.Context, user mls.DID, status store.HostStatus, at time.Time) error
}

// Watch knows which accounts are refused. It is safe for concurrent use.
type Watch struct {
	store Store
	// refuse is told of accounts that are refused from now on.
	refuse func(users []mls.DID)
	// looking is held by the one that reads.
	looking chan struct{}
	clock   clock.Clock

	mu     sync.RWMutex
	states map[mls.DID]store.AccountState // of those that are refused
	at     store.AccountChanges
	known  bool
	looked time.Time // when the last look that went well has begun
}

// New returns a Watch that refuses everybody for a moment, until Run has read the database. refuse
// is told of accounts that are refused from now on, and must not block.
func New(s Store, refuse func(users []mls.DID), c clock.Clock) *Watch {
	return &Watch{store: s, refuse: refuse, looking: make(chan struct{}, 1), clock: c, states: map[mls.DID]store.AccountState{}, looked: c.Now()}
}

// Run follows the changes until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	for {
		_ = w.Look(ctx) // what could not be read now is read next time; Age tells of it
		if clock.Pause(ctx, poll) != nil {
			return
		}
	}
}

// Known reports whether the states were read, and reads them if not.
func (w *Watch) Known(ctx context.Context) bool {
	w.mu.RLock()
	known := w.known
	w.mu.RUnlock()
	return known || w.Look(ctx) == nil
}

// Age is how old what is known is: a takedown that was made since is not known here. It is a
// fraction of a second where all is well, and grows while the database cannot be read.
func (w *Watch) Age() time.Duration {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.clock.Now().Sub(w.looked)
}

// Look reads what has changed.
func (w *Watch) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	select {
	case w.looking <- struct{}{}:
		defer func() { <-w.looking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	began := w.clock.Now()
	now, err := w.store.AccountChanges(ctx)
	if err != nil {
		return err
	}
	w.mu.Lock()
	at, states, known := w.at, w.states, w.known
	if known && now == at {
		w.looked = began
	}
	w.mu.Unlock()
	if known && now == at {
		return nil
	}
	// After a restore the numbers are another history's; of rows that have gone no number tells.
	anew := !known || now.Generation != at.Generation || now.Last < at.Last || now.Dropped > at.Last
	next, after := map[mls.DID]store.AccountState{}, int64(0)
	if !anew {
		next, after = maps.Clone(states), at.Last
	}
	for {
		page, err := w.store.ListAccountStates(ctx, after, pageStates)
		if err != nil {
			return err
		}
		for _, s := range page {
			after = s.Change
			delete(next, s.User)
			if s.Refused() {
				next[s.User] = s
			}
		}
		if len(page) < pageStates {
			break
		}
	}
	w.replace(next, now, began)
	return nil
}

// replace puts new states in the place of the old ones, and tells of those that are refused now.
func (w *Watch) replace(next map[mls.DID]store.AccountState, at store.AccountChanges, looked time.Time) {
	w.mu.Lock()
	before := w.states
	w.states, w.at, w.known, w.looked = next, at, true, looked
	w.mu.Unlock()
	var refused []mls.DID
	for user := range next {
		if _, already := before[user]; !already {
			refused = append(refused, user)
		}
	}
	if len(refused) > 0 {
		w.refuse(refused)
	}
}

// Refused reports whether an account is refused, as far as this server knows.
func (w *Watch) Refused(user mls.DID) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	_, refused := w.states[user]
	return refused
}

var errUnknown = &lexrt.Error{
	Name: lexrt.ErrNotEnoughResources.Name, Status: lexrt.ErrNotEnoughResources.Status,
	Message: "Accounts cannot be checked yet, retry in 2 seconds", RetryAfter: 2 * time.Second,
}

// Admit returns why an account is refused, nil when it is not. issued is when its host has made the
// token that it comes with, zero when that is not known. A host that has deleted an account has no
// key of it left, so that a token made since says that the account is back, whatever became of the
// news. Of no other state a token says anything: hosts go on making them for accounts that are
// deactivated or taken down.
func (w *Watch) Admit(ctx context.Context, user mls.DID, issued time.Time) error {
	state, why := w.judge(user)
	if why == nil || state.Suspended || state.Erasing || state.Host != store.HostDeleted || !issued.After(state.HostAt.Add(leeway)) {
		return why
	}
	if err := w.store.SetHostStatus(ctx, user, store.HostActive, issued); err != nil {
		return err
	}
	if err := w.Look(ctx); err != nil {
		return err
	}
	_, why = w.judge(user)
	return why
}

// judge is what is known of an account, and why it is refused.
func (w *Watch) judge(user mls.DID) (store.AccountState, error) {
	w.mu.RLock()
	state, refused := w.states[user]
	known := w.known
	w.mu.RUnlock()
	switch {
	case !known:
		return state, errUnknown
	case !refused:
		return state, nil
	case state.Suspended || state.Erasing || state.Host == store.HostTakendown || state.Host == store.HostSuspended:
		return state, lexrt.ErrAccountTakedown.WithMessage("Account has been taken down")
	}
	return state, lexrt.ErrAccountDeactivated.WithMessage("Account is deactivated")
}
