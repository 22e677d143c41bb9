package store

import (
	"context"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// HostStatus is what an account's host says of it, in the words of
// com.atproto.sync.subscribeRepos#account.
type HostStatus string

// The statuses for which an account is refused. HostActive is the word for all is well.
const (
	HostActive      HostStatus = ""
	HostTakendown   HostStatus = "takendown"
	HostSuspended   HostStatus = "suspended"
	HostDeactivated HostStatus = "deactivated"
	HostDeleted     HostStatus = "deleted"
)

// AccountState is why an account is refused, if it is.
type AccountState struct {
	User mls.DID
	// Suspended is the operator's word, Host that of the account's host.
	Suspended bool
	Host      HostStatus
	// HostAt is when the host said so, floored to 2 seconds; in 1970 when it has said nothing.
	HostAt time.Time
	// Erasing: what is kept of the account is on its way out.
	Erasing bool
	// Change is the number of the change that led to it.
	Change int64
}

// Refused reports whether there is any reason to refuse the account.
func (s *AccountState) Refused() bool { return s.Suspended || s.Erasing || s.Host != HostActive }

// AccountChanges is how far the changes of accounts' states have come.
type AccountChanges struct {
	// Generation is that of the log: another one may be of another history, whose numbers say
	// nothing about this one's.
	Generation int64
	// Last numbers the last change, Dropped the last one that has removed rows.
	Last, Dropped int64
}

// AccountChanges reads how far the changes have come. It is one row, and cheap.
func (r *reader) AccountChanges(ctx context.Context) (AccountChanges, error) {
	row, err := r.q.GetAccountChanges(ctx)
	return AccountChanges{row.Generation, row.Last, row.Dropped}, fail("read account changes", err)
}

// ListAccountStates is at most limit states that have changed after a number, in the order of their
// changes.
func (r *reader) ListAccountStates(ctx context.Context, after int64, limit int) ([]AccountState, error) {
	rows, err := r.q.ListAccountStates(ctx, after, rowLimit(limit))
	if err != nil {
		return nil, fail("list account states", err)
	}
	states := make([]AccountState, len(rows))
	for i, row := range rows {
		states[i] = accountState(db.GetAccountStateRow(row))
	}
	return states, nil
}

// FindAccountState is the state of an account, the zero one for an account that nobody has said
// anything of.
func (r *reader) FindAccountState(ctx context.Context, user mls.DID) (AccountState, error) {
	row, err := r.q.GetAccountState(ctx, user)
	if isNotFound(err) {
		return AccountState{User: user, HostAt: time.Unix(0, 0).UTC()}, nil
	}
	return accountState(row), fail("find account state", err)
}

func accountState(row db.GetAccountStateRow) AccountState {
	return AccountState{
		User: row.UserDID, Suspended: row.Suspended, Erasing: row.Erasing, Host: HostStatus(row.HostStatus), HostAt: row.ToldAt, Change: row.Changed,
	}
}

// nextChange numbers a change of an account's state, which no other one passes until the
// transaction ends. Those of other accounts wait for this one from here on: what this one waits for
// comes before.
func (tx *Tx) nextChange(ctx context.Context, user mls.DID) (int64, error) {
	if err := tx.q.LockAccount(ctx, string(user)); err != nil {
		return 0, fail("lock account", err)
	}
	change, err := tx.q.NextAccountChange(ctx)
	return change, fail("number a change of an account", err)
}

// SuspendAccount has an account refused by all servers until RestoreAccount. It reports whether
// that is new.
func (tx *Tx) SuspendAccount(ctx context.Context, user mls.DID) (bool, error) {
	change, err := tx.nextChange(ctx, user)
	if err != nil {
		return false, err
	}
	n, err := tx.q.SuspendAccount(ctx, user, change)
	return n > 0, fail("suspend account", err)
}

// RestoreAccount ends a suspension, whether it came from the operator or from the account's host;
// what the host said before changes nothing any more. It reports whether there was one.
func (tx *Tx) RestoreAccount(ctx context.Context, user mls.DID, at time.Time) (bool, error) {
	change, err := tx.nextChange(ctx, user)
	if err != nil {
		return false, err
	}
	n, err := tx.q.RestoreAccount(ctx, db.RestoreAccountParams{Now: bucket(at), Changed: change, UserDID: user})
	return n > 0, fail("restore account", err)
}

// SetHostStatus keeps what an account's host has said at a time. News that are older than what is
// known change nothing, so that they may be told again in any number.
func (s *Store) SetHostStatus(ctx context.Context, user mls.DID, status HostStatus, at time.Time) error {
	at = bucket(at)
	known, err := s.FindAccountState(ctx, user)
	if err != nil || at.Before(known.HostAt) || status == known.Host && (status == HostActive || at.Equal(known.HostAt)) {
		return err // most of what a stream tells again ends here, without a write
	}
	return s.InTx(ctx, func(tx *Tx) error {
		change, err := tx.nextChange(ctx, user)
		switch {
		case err != nil:
		case status == HostActive:
			_, err = tx.q.ClearHostStatus(ctx, db.ClearHostStatusParams{UserDID: user, HostAt: at, Changed: change})
		default:
			_, err = tx.q.SetHostStatus(ctx, db.SetHostStatusParams{UserDID: user, HostStatus: string(status), HostAt: at, Changed: change})
		}
		return fail("set host status", err)
	})
}

// HearHostStatus is SetHostStatus for news that may be of anybody: those of accounts that have
// nothing here are not kept.
func (s *Store) HearHostStatus(ctx context.Context, user mls.DID, status HostStatus, at time.Time) error {
	known, err := s.q.IsAccountKnown(ctx, user)
	if err != nil || !known {
		return fail("find account", err)
	}
	return s.SetHostStatus(ctx, user, status, at)
}

// FeedPosition is how far servers have followed the Jetstream, floored to 2 seconds; zero when none
// has.
func (s *Store) FeedPosition(ctx context.Context) (time.Time, error) {
	at, err := s.q.GetFeedPosition(ctx)
	if isNotFound(err) {
		return time.Time{}, nil
	}
	return at, fail("find feed position", err)
}

// SaveFeedPosition keeps how far a server has followed the Jetstream, unless another one is ahead.
func (s *Store) SaveFeedPosition(ctx context.Context, at time.Time) error {
	return fail("keep feed position", s.q.PutFeedPosition(ctx, bucket(at)))
}

// OperatorActionKind is what an operator has done.
type OperatorActionKind string

// The kinds of operators' actions.
const (
	OperatorSuspend OperatorActionKind = "suspend"
	OperatorRestore OperatorActionKind = "restore"
	OperatorExport  OperatorActionKind = "export"
	OperatorErase   OperatorActionKind = "erase"
	OperatorClose   OperatorActionKind = "close"
)

// OperatorAction is a row of the operator's audit.
type OperatorAction struct {
	Kind OperatorActionKind
	// User and ConvoID are what it was done to, "" for none. Reason is the operator's own, or "".
	User    mls.DID
	ConvoID mls.ConvoID
	Reason  string
	At      time.Time
}

// AuditOperator writes down what an operator does, in the transaction of what it tells of; of a
// conversation once that it was closed.
func (tx *Tx) AuditOperator(ctx context.Context, a OperatorAction) error {
	if a.Kind == OperatorClose { // which may take several transactions, and runs
		return fail("audit", tx.q.InsertClosure(ctx, db.InsertClosureParams{ConvoID: string(a.ConvoID), Reason: a.Reason, CreatedAt: bucket(a.At)}))
	}
	return fail("audit", tx.q.InsertOperatorAction(ctx, db.InsertOperatorActionParams{
		Action: string(a.Kind), UserDID: string(a.User), ConvoID: string(a.ConvoID), Reason: a.Reason, CreatedAt: bucket(a.At),
	}))
}
