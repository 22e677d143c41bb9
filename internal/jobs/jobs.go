// Package jobs runs what the server does by itself: retention, and what requests leave to be done.
//
// Any number of processes may run it; a lock in the database lets one of them
// work at a time. It must not decide what is kept how long: the configuration
// and package store do.
package jobs

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/store"
)

// carryInterval is the mean time between two looks at work that was begun.
const carryInterval = 30 * time.Second

// interval is the time between two runs of a process; each is jittered, so that servers take turns.
const interval = 10 * time.Minute

// Store is the part of the database that jobs need. *store.Store implements it.
type Store interface {
	Retain(ctx context.Context, now time.Time, policy store.Retention) (store.Removed, error)
	CountActiveConvos(ctx context.Context, since time.Time) (int64, error)
}

// Observer counts runs. It is given names out of a closed set and numbers only.
type Observer interface {
	ObserveJob(job string, rows int64, err error)
	ObserveRetention(at time.Time)
	SetActiveConversations(n int64)
}

// Runner runs the jobs.
type Runner struct {
	store    Store
	policy   store.Retention
	observer Observer
	log      *slog.Logger
	clock    clock.Clock
}

// New returns a runner.
func New(s Store, policy store.Retention, observer Observer, log *slog.Logger, c clock.Clock) *Runner {
	return &Runner{store: s, policy: policy, observer: observer, log: log, clock: c}
}

// Run runs the jobs soon after the start and then every ten minutes, until ctx ends.
func (r *Runner) Run(ctx context.Context) {
	wait := time.Duration(rand.Int64N(int64(time.Minute))) //nolint:gosec // jitter, not a secret
	for {
		if clock.Pause(ctx, wait) != nil {
			return
		}
		r.Once(ctx)
		wait = interval/2 + time.Duration(rand.Int64N(int64(interval))) //nolint:gosec // jitter, not a secret
	}
}

// Carry carries on with work that requests have begun, every half minute until ctx ends. do returns
// how much of it was left. Several servers may do so at once.
func (r *Runner) Carry(ctx context.Context, job string, do func(context.Context) (int64, error)) {
	for clock.Pause(ctx, carryInterval/2+time.Duration(rand.Int64N(int64(carryInterval)))) == nil { //nolint:gosec // jitter, not a secret
		n, err := do(ctx)
		if ctx.Err() != nil {
			return
		}
		if n > 0 || err != nil {
			r.observer.ObserveJob(job, n, err)
		}
		if err != nil {
			r.log.LogAttrs(ctx, slog.LevelError, "job failed", slog.String("component", "jobs"), slog.Any("err", err))
		}
	}
}

// Once runs the jobs one time. What they have not done by the time of the next
// run, against a hung database for example, is left to that.
func (r *Runner) Once(ctx context.Context) {
	stopping := ctx
	ctx, cancel := context.WithTimeout(ctx, interval)
	defer cancel()
	now := r.clock.Now()
	removed, err := r.store.Retain(ctx, now, r.policy)
	for job, rows := range removed {
		r.observer.ObserveJob(job, rows, nil)
	}
	if err != nil && stopping.Err() == nil {
		r.observer.ObserveJob("retention", 0, err)
		r.log.LogAttrs(ctx, slog.LevelError, "job failed", slog.String("component", "jobs"), slog.Any("err", err))
	}
	// Nothing removed and nothing wrong: another server is at it.
	if err == nil && len(removed) > 0 {
		r.observer.ObserveRetention(now)
	}
	if n, err := r.store.CountActiveConvos(ctx, now.Add(-24*time.Hour)); err == nil {
		r.observer.SetActiveConversations(n)
	}
}
