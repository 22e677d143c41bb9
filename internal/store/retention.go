package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
)

// Retention says how long what is kept. A zero duration keeps for ever.
type Retention struct {
	Messages, Events time.Duration
	// Commits is the hard limit; a commit older than Messages goes earlier when
	// every user on the roster has read past it and has one device there.
	Commits  time.Duration
	Welcomes time.Duration
	// Requests is how long an open request waits, and how long an ended one is kept.
	Requests time.Duration
	// Blocks is how long a look-up of blocks is of use.
	Blocks time.Duration
	// Documents is how long a DID document is of use.
	Documents time.Duration
}

// DefaultRetention is what the contract says.
func DefaultRetention() Retention {
	const day = 24 * time.Hour
	return Retention{Messages: 30 * day, Events: 30 * day, Commits: 90 * day, Welcomes: WelcomeLifetime, Requests: 30 * day, Blocks: 7 * day, Documents: day}
}

// userDays is how long the day on which an account was last here is of use.
const userDays = 7 * 24 * time.Hour

// VoidingTime is how long after it was accepted a commit may be taken back. What that takes is kept
// as long.
const VoidingTime = 24 * time.Hour

// EndedConflicts is how long it is known that a conflict is over. A Jetstream is never asked to
// tell again of more.
const EndedConflicts = 7 * 24 * time.Hour

// HostNews is how long it is known when an account that is active was last told of by its host.
const HostNews = EndedConflicts

// DeletedKeys is how long the signature key of a deleted device is refused.
const DeletedKeys = 90 * 24 * time.Hour

// Removed counts what a retention run removed, by a closed set of names.
type Removed map[string]int64

// retentionBatch is how many rows one transaction removes: an open
// transaction holds the log back, so each is short.
const retentionBatch = 1000

// Retain removes what is past its time, in batches of one short transaction
// each, under an advisory lock: of several servers one works at a time, the
// others return at once with what they have removed so far.
func (s *Store) Retain(ctx context.Context, now time.Time, policy Retention) (Removed, error) {
	removed := Removed{}
	for _, step := range retentionSteps(now, policy) {
		for {
			n, busy, err := s.retainBatch(ctx, step.run)
			removed[step.name] += n
			if err != nil || busy {
				return removed, err
			}
			if n < retentionBatch {
				break
			}
		}
	}
	return removed, nil
}

func (s *Store) retainBatch(ctx context.Context, run func(context.Context, *db.Queries) (int64, error)) (n int64, busy bool, err error) {
	err = s.InTx(ctx, func(tx *Tx) error {
		locked, err := tx.q.TryLockRetention(ctx)
		if err != nil {
			return fail("lock retention", err)
		}
		if busy = !locked; busy {
			return nil
		}
		// Old rows are few: a plan for any date would rather read all of the table.
		if _, err := tx.tx.Exec(ctx, "SET LOCAL plan_cache_mode = force_custom_plan"); err != nil {
			return fail("retain", err)
		}
		n, err = run(ctx, tx.q)
		return fail("retain", err)
	})
	return n, busy, err
}

type retentionStep struct {
	name string
	run  func(context.Context, *db.Queries) (int64, error)
}

func retentionSteps(now time.Time, p Retention) []retentionStep {
	type deleter func(*db.Queries, context.Context, time.Time, int32) (int64, error)
	var steps []retentionStep
	add := func(name string, keep time.Duration, run deleter) {
		if keep > 0 {
			before := now.Add(-keep)
			steps = append(steps, retentionStep{name, func(ctx context.Context, q *db.Queries) (int64, error) {
				return run(q, ctx, before, retentionBatch)
			}})
		}
	}
	add("messages", p.Messages, (*db.Queries).DeleteMessages)
	if p.Messages > 0 && p.Commits > 0 {
		add("commits", p.Messages, func(q *db.Queries, ctx context.Context, before time.Time, limit int32) (int64, error) {
			return q.DeleteCommits(ctx, db.DeleteCommitsParams{Before: before, HardBefore: now.Add(-p.Commits), MaxRows: limit})
		})
	}
	add("events", p.Events, (*db.Queries).DeleteEvents)
	add("welcomes", p.Welcomes, (*db.Queries).DeleteWelcomes)
	add("expired_requests", p.Requests, func(q *db.Queries, ctx context.Context, before time.Time, limit int32) (int64, error) {
		ids, err := q.ExpireRequests(ctx, db.ExpireRequestsParams{Now: bucket(now), Before: before, MaxRows: limit})
		if err == nil && len(ids) > 0 {
			_, err = q.ReleaseKeyPackages(ctx, ids)
		}
		return int64(len(ids)), err
	})
	add("requests", 2*p.Requests, (*db.Queries).DeleteRequests)
	add("removal_debts", p.Requests, (*db.Queries).DeleteDebts)
	add("user_days", userDays, (*db.Queries).DeleteUserDays)
	add("key_packages", time.Nanosecond, (*db.Queries).DeleteKeyPackages)
	add("deleted_devices", DeletedKeys, (*db.Queries).DeleteDeletedDevices)
	// their times are days
	add("idempotency_keys", IdempotencyLifetime+24*time.Hour, (*db.Queries).DeleteIdempotencyKeys)
	add("used_jtis", time.Nanosecond, (*db.Queries).DeleteJTIs)
	add("block_checks", p.Blocks, (*db.Queries).DeleteBlockChecks)
	add("ended_conflicts", EndedConflicts, (*db.Queries).DeleteEndedConflicts)
	add("account_states", HostNews, (*db.Queries).DeleteAccountStates)
	add("invitations", countedFor, func(q *db.Queries, ctx context.Context, before time.Time, limit int32) (int64, error) {
		return q.DeleteInvitations(ctx, db.DeleteInvitationsParams{Before: before, DeclinedBefore: now.Add(-DeclinedFor), MaxRows: limit})
	})
	add("did_documents", p.Documents, (*db.Queries).DeleteDIDDocuments)
	add("group_states", VoidingTime+time.Hour, (*db.Queries).DeleteGroupStates)
	add("commit_additions", VoidingTime+time.Hour, (*db.Queries).DeleteAdditions)
	return steps
}
