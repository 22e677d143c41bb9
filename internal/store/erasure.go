package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"maps"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Erased counts the rows that an erasure has removed, or has taken a name off, by table.
type Erased map[string]int64

// Add adds up what was counted elsewhere.
func (e Erased) Add(other Erased) {
	for table, n := range other {
		e[table] += n
	}
}

// eraseBatch is how many rows one statement of an erasure writes where there may be more.
const eraseBatch = 1000

// ErasureRun is a run of the erasure of an account. It is over when a later one begins.
type ErasureRun struct {
	User mls.DID
	// New says that the account was not being erased before.
	New    bool
	number int64
	salt   []byte
}

// ErrErasureOver says that another run of an erasure has begun since, or has ended it.
var ErrErasureOver = errors.New("store: another run goes on with the erasure, or has ended it")

// BeginErasure has an account refused until EndErasure, and begins a run, which ends those before.
func (tx *Tx) BeginErasure(ctx context.Context, user mls.DID) (run ErasureRun, err error) {
	change, err := tx.nextChange(ctx, user)
	if err != nil {
		return run, err
	}
	before, err := tx.FindAccountState(ctx, user)
	if err != nil {
		return run, err
	}
	run = ErasureRun{User: user, New: !before.Erasing, number: change, salt: make([]byte, sha256.Size)}
	rand.Read(run.salt) // never fails
	run.salt, err = tx.q.BeginErasure(ctx, db.BeginErasureParams{UserDID: user, Run: run.number, Salt: run.salt})
	return run, fail("begin erasure", err)
}

// HoldErasure fails with ErrErasureOver when a run is over, and keeps others from beginning
// until the transaction ends.
func (tx *Tx) HoldErasure(ctx context.Context, run ErasureRun) error {
	if err := tx.q.HoldAccount(ctx, string(run.User)); err != nil {
		return fail("hold account", err)
	}
	_, err := tx.q.HoldErasure(ctx, run.User, run.number)
	if isNotFound(err) {
		return ErrErasureOver
	}
	return fail("hold erasure", err)
}

// EndErasure ends the refusal of an account. Nothing is kept of it here unless somebody else
// refuses it still. It fails with ErrErasureOver when the run is over.
func (tx *Tx) EndErasure(ctx context.Context, run ErasureRun) error {
	change, err := tx.nextChange(ctx, run.User)
	if err != nil {
		return err
	}
	n, err := tx.q.EndErasure(ctx, db.EndErasureParams{Changed: change, UserDID: run.User, Run: run.number})
	switch {
	case err != nil:
		return fail("end erasure", err)
	case n == 0:
		return ErrErasureOver
	}
	n, err = tx.q.DropAccountState(ctx, run.User)
	if err != nil || n == 0 {
		return fail("end erasure", err)
	}
	return fail("end erasure", tx.q.NoteDroppedState(ctx))
}

// ListConvosOfAccount is every conversation in which something other than what CountRemains counts
// names an account. It reads whole tables.
func (r *reader) ListConvosOfAccount(ctx context.Context, user mls.DID) ([]mls.ConvoID, error) {
	ids, err := r.q.ListConvosOfAccount(ctx, user)
	return ids, fail("list conversations", err)
}

// Erasure says whom to take out of a conversation.
type Erasure struct {
	ConvoID mls.ConvoID
	Run     ErasureRun
	At      time.Time
}

// tombstone stands in the account's place from now on, where something has to.
func (e *Erasure) tombstone() mls.DID { return mls.Tombstone(e.Run.salt, e.ConvoID) }

// toldAfter is how long the events of a removal keep the name of who was removed: every stream has
// told them by then.
const toldAfter = time.Minute

// eraseStep is a statement of an erasure.
type eraseStep struct {
	table string
	run   func(ctx context.Context, q *db.Queries) (int64, error)
	// batched steps are repeated until they write less than a batch.
	batched bool
}

// runSteps runs each step in a transaction that do makes, as often as it takes.
func runSteps(ctx context.Context, steps []eraseStep, do func(ctx context.Context, fn func(q *db.Queries) error) error) (Erased, error) {
	erased := Erased{}
	for _, step := range steps {
		for {
			var n int64
			err := do(ctx, func(q *db.Queries) (err error) {
				n, err = step.run(ctx, q)
				return fail("erase", err)
			})
			if err != nil {
				return erased, err
			}
			erased[step.table] += n
			if !step.batched || n < eraseBatch {
				break
			}
		}
	}
	maps.DeleteFunc(erased, func(_ string, n int64) bool { return n == 0 })
	return erased, nil
}

// doErase runs a step in the open transaction.
func (tx *Tx) doErase(_ context.Context, fn func(q *db.Queries) error) error { return fn(tx.q) }

// erasing makes transactions, each of which ends with the run.
func (s *Store) erasing(run ErasureRun) func(ctx context.Context, fn func(q *db.Queries) error) error {
	return func(ctx context.Context, fn func(q *db.Queries) error) error {
		return s.InTx(ctx, func(tx *Tx) error {
			if err := tx.HoldErasure(ctx, run); err != nil {
				return err
			}
			return fn(tx.q)
		})
	}
}

// EraseFromConvo removes a former member from all that a conversation's present rests on. Leaves
// that a commit of the last day has removed become settled debts: should the commit be taken back,
// they are owed again. The caller holds the conversation's lock, and the user is off the roster.
func (tx *Tx) EraseFromConvo(ctx context.Context, e Erasure) (Erased, error) {
	fresh := db.KeepFreshRemovalsParams{ConvoID: e.ConvoID, UserDID: e.Run.User, Since: e.At.Add(-VoidingTime - time.Hour)}
	if _, err := tx.q.KeepFreshRemovals(ctx, fresh); err != nil {
		return nil, fail("keep removals", err)
	}
	convo, user, dead := e.ConvoID, e.Run.User, e.tombstone()
	of := func(table string, run func(*db.Queries, context.Context, mls.ConvoID, mls.DID) (int64, error)) eraseStep {
		return eraseStep{table: table, run: func(ctx context.Context, q *db.Queries) (int64, error) { return run(q, ctx, convo, user) }}
	}
	return runSteps(ctx, []eraseStep{
		of("members", (*db.Queries).EraseMemberRows),
		{table: "members", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.ErasePromoter(ctx, db.ErasePromoterParams{Tombstone: string(dead), ConvoID: convo, UserDID: string(user)})
		}},
		{table: "invitations", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseInviter(ctx, db.EraseInviterParams{Tombstone: string(dead), ConvoID: convo, UserDID: string(user)})
		}},
		{table: "conversations", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseCreator(ctx, db.EraseCreatorParams{Tombstone: dead, ConvoID: convo, UserDID: user})
		}},
		of("cursors", (*db.Queries).EraseCursor),
		of("welcome_routes", (*db.Queries).EraseWelcomeRoutes),
		{table: "welcomes", run: func(ctx context.Context, q *db.Queries) (int64, error) { return q.EraseUnroutedWelcomes(ctx, convo) }},
		of("pending_welcomes", (*db.Queries).EraseRequests),
		of("commit_reports", (*db.Queries).EraseCommitReports),
		of("block_conflicts", (*db.Queries).EraseConflicts),
		of("ended_conflicts", (*db.Queries).EraseEndedConflicts),
		{table: "removal_debts", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseVoices(ctx, db.EraseVoicesParams{UserDID: string(user), Tombstone: string(dead), ConvoID: convo})
		}},
		{table: "group_states", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseDepositor(ctx, db.EraseDepositorParams{UserDID: string(user), Tombstone: string(dead), ConvoID: convo})
		}},
		{table: "commit_additions", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseBefore(ctx, db.EraseBeforeParams{UserDID: string(user), Tombstone: string(dead), ConvoID: convo})
		}},
	}, tx.doErase)
}

// EraseHistory takes an account's name off what a conversation keeps of its past. Nothing judges by
// it, so that it needs no lock, and goes in batches.
func (s *Store) EraseHistory(ctx context.Context, e Erasure) (Erased, error) {
	convo, user, dead := e.ConvoID, string(e.Run.User), string(e.tombstone())
	return runSteps(ctx, []eraseStep{
		{table: "commits", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseCommitters(ctx, db.EraseCommittersParams{UserDID: user, Tombstone: dead, ConvoID: convo})
		}},
		{table: "convo_resets", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseResetters(ctx, db.EraseResettersParams{Tombstone: mls.DID(dead), ConvoID: convo, UserDID: e.Run.User})
		}},
		{table: "admin_actions", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseAuditNames(ctx, db.EraseAuditNamesParams{UserDID: user, Tombstone: dead, ConvoID: convo})
		}},
		{table: "reports", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseReportNames(ctx, db.EraseReportNamesParams{UserDID: user, Tombstone: dead, ConvoID: convo})
		}},
		{table: "event_stream", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseEventNames(ctx, db.EraseEventNamesParams{
				UserDID: user, Tombstone: dead, ConvoID: string(convo), ToldBefore: e.At.Add(-toldAfter), MaxRows: eraseBatch,
			})
		}},
	}, s.erasing(e.Run))
}

// EraseAccount removes what is kept of an account outside of conversations.
func (s *Store) EraseAccount(ctx context.Context, run ErasureRun) (Erased, error) {
	user := run.User
	of := func(table string, run func(*db.Queries, context.Context, mls.DID) (int64, error)) eraseStep {
		return eraseStep{table: table, run: func(ctx context.Context, q *db.Queries) (int64, error) { return run(q, ctx, user) }}
	}
	return runSteps(ctx, []eraseStep{
		of("user_devices", (*db.Queries).EraseDevices),
		of("deleted_devices", (*db.Queries).EraseDeletedDevices),
		{table: "key_packages", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseKeyPackages(ctx, user, eraseBatch)
		}},
		{table: "event_stream", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.ErasePersonalEvents(ctx, string(user), eraseBatch)
		}},
		{table: "invitations", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseInvitations(ctx, user, eraseBatch)
		}},
		of("lost_events", (*db.Queries).EraseLostEvents),
		of("user_days", (*db.Queries).EraseUserDay),
		of("did_documents", (*db.Queries).EraseDocument),
		{table: "bsky_blocks", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) { return q.EraseBlocks(ctx, user, eraseBatch) }},
		{table: "block_checks", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseBlockChecks(ctx, user, eraseBatch)
		}},
		{table: "operator_actions", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseOperatorAudit(ctx, string(user))
		}},
	}, s.erasing(run))
}

// Remains counts what is left of an account on purpose. SettledDebts, Additions and Events go by
// themselves; OpenDebts and the newest of GroupStates when members have removed the leaves.
type Remains struct {
	// OpenDebts are leaves that members have still to remove, SettledDebts those that they have.
	OpenDebts, SettledDebts int64
	// GroupStates are public states of groups that the server follows, with a leaf of the account.
	GroupStates int64
	// Additions are what commits of the last day have changed.
	Additions int64
	// Events tell members of the removal.
	Events int64
	// State: somebody refuses the account.
	State bool
}

// CountRemains counts what is left of an account. It reads whole tables.
func (r *reader) CountRemains(ctx context.Context, user mls.DID) (Remains, error) {
	row, err := r.q.CountRemains(ctx, user)
	return Remains{row.OpenDebts, row.SettledDebts, row.GroupStates, row.Additions, row.Events, row.State}, fail("count remains", err)
}

// ListSomeUsers is at most limit users of a conversation, admins first.
func (r *reader) ListSomeUsers(ctx context.Context, convo mls.ConvoID, limit int) ([]mls.DID, error) {
	users, err := r.q.ListSomeUsers(ctx, convo, rowLimit(limit))
	return users, fail("list users", err)
}

// DeleteConvo removes a conversation that nobody is in. Its id and the ids of its groups stay
// taken; audit and reports outlive it, and the log's events their time.
func (s *Store) DeleteConvo(ctx context.Context, convo mls.ConvoID) (Erased, error) {
	return runSteps(ctx, []eraseStep{
		{table: "messages", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.DeleteConvoMessages(ctx, convo, eraseBatch)
		}},
		{table: "conversations", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.DeleteConversation(ctx, string(convo))
		}},
	}, func(_ context.Context, fn func(q *db.Queries) error) error { return fn(s.q) })
}
