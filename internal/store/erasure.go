package store

import (
	"context"
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

// BeginErasure has an account refused until EndErasure. It reports whether that is new.
func (tx *Tx) BeginErasure(ctx context.Context, user mls.DID) (bool, error) {
	before, err := tx.FindAccountState(ctx, user)
	if err != nil || before.Erasing {
		return false, err
	}
	change, err := tx.q.NextAccountChange(ctx)
	if err != nil {
		return false, fail("begin erasure", err)
	}
	return true, fail("begin erasure", tx.q.BeginErasure(ctx, user, change))
}

// EndErasure ends the refusal of an account. Nothing is kept of it here unless somebody else
// refuses it still.
func (tx *Tx) EndErasure(ctx context.Context, user mls.DID) error {
	change, err := tx.q.NextAccountChange(ctx)
	if err != nil {
		return fail("end erasure", err)
	}
	if err := tx.q.EndErasure(ctx, change, user); err != nil {
		return fail("end erasure", err)
	}
	n, err := tx.q.DropAccountState(ctx, user)
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
	User    mls.DID
	// Tombstone stands in the account's place from now on, where something has to.
	Tombstone mls.DID
	At        time.Time
}

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

func runSteps(ctx context.Context, q *db.Queries, steps []eraseStep) (Erased, error) {
	erased := Erased{}
	for _, step := range steps {
		for {
			n, err := step.run(ctx, q)
			if err != nil {
				return nil, fail("erase", err)
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

// EraseFromConvo removes a former member from all that a conversation's present rests on. Leaves
// that a commit of the last day has removed become settled debts: should the commit be taken back,
// they are owed again. The caller holds the conversation's lock, and the user is off the roster.
func (tx *Tx) EraseFromConvo(ctx context.Context, e Erasure) (Erased, error) {
	fresh := db.KeepFreshRemovalsParams{ConvoID: e.ConvoID, UserDID: e.User, Since: e.At.Add(-VoidingTime - time.Hour)}
	if _, err := tx.q.KeepFreshRemovals(ctx, fresh); err != nil {
		return nil, fail("keep removals", err)
	}
	convo, user, dead := e.ConvoID, e.User, string(e.Tombstone)
	of := func(table string, run func(*db.Queries, context.Context, mls.ConvoID, mls.DID) (int64, error)) eraseStep {
		return eraseStep{table: table, run: func(ctx context.Context, q *db.Queries) (int64, error) { return run(q, ctx, convo, user) }}
	}
	return runSteps(ctx, tx.q, []eraseStep{
		of("members", (*db.Queries).EraseMemberRows),
		{table: "members", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.ErasePromoter(ctx, db.ErasePromoterParams{Tombstone: dead, ConvoID: convo, UserDID: string(user)})
		}},
		{table: "invitations", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseInviter(ctx, db.EraseInviterParams{Tombstone: dead, ConvoID: convo, UserDID: string(user)})
		}},
		{table: "conversations", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseCreator(ctx, db.EraseCreatorParams{Tombstone: e.Tombstone, ConvoID: convo, UserDID: user})
		}},
		of("cursors", (*db.Queries).EraseCursor),
		of("welcome_routes", (*db.Queries).EraseWelcomeRoutes),
		{table: "welcomes", run: func(ctx context.Context, q *db.Queries) (int64, error) { return q.EraseUnroutedWelcomes(ctx, convo) }},
		of("pending_welcomes", (*db.Queries).EraseRequests),
		of("commit_reports", (*db.Queries).EraseCommitReports),
		of("block_conflicts", (*db.Queries).EraseConflicts),
		of("ended_conflicts", (*db.Queries).EraseEndedConflicts),
		{table: "removal_debts", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseVoices(ctx, db.EraseVoicesParams{UserDID: string(user), Tombstone: dead, ConvoID: convo})
		}},
		{table: "group_states", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseDepositor(ctx, db.EraseDepositorParams{UserDID: string(user), Tombstone: dead, ConvoID: convo})
		}},
	})
}

// EraseHistory takes an account's name off what a conversation keeps of its past. Nothing judges by
// it, so that it needs no lock, and goes in batches.
func (s *Store) EraseHistory(ctx context.Context, e Erasure) (Erased, error) {
	convo, user, dead := e.ConvoID, string(e.User), string(e.Tombstone)
	return runSteps(ctx, s.q, []eraseStep{
		{table: "commits", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseCommitters(ctx, db.EraseCommittersParams{UserDID: user, Tombstone: dead, ConvoID: convo})
		}},
		{table: "convo_resets", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.EraseResetters(ctx, db.EraseResettersParams{Tombstone: e.Tombstone, ConvoID: convo, UserDID: e.User})
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
	})
}

// EraseAccount removes what is kept of an account outside of conversations.
func (s *Store) EraseAccount(ctx context.Context, user mls.DID) (Erased, error) {
	of := func(table string, run func(*db.Queries, context.Context, mls.DID) (int64, error)) eraseStep {
		return eraseStep{table: table, run: func(ctx context.Context, q *db.Queries) (int64, error) { return run(q, ctx, user) }}
	}
	return runSteps(ctx, s.q, []eraseStep{
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
	})
}

// Remains counts what is left of an account on purpose. All of it goes by itself but State.
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
	return runSteps(ctx, s.q, []eraseStep{
		{table: "messages", batched: true, run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.DeleteConvoMessages(ctx, convo, eraseBatch)
		}},
		{table: "conversations", run: func(ctx context.Context, q *db.Queries) (int64, error) {
			return q.DeleteConversation(ctx, string(convo))
		}},
	})
}
