package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// EraseAccount removes what is kept of an account: it leaves its conversations as by a removal, one
// transaction for each, and its name goes from what stays of it there. It may be cut off anywhere
// and run again. What is left on purpose says store.Remains. It fails with store.ErrErasureOver,
// and writes nothing any more, when the run is over.
func (s *Service) EraseAccount(ctx context.Context, run store.ErasureRun, at time.Time) (store.Erased, error) {
	erased := store.Erased{}
	convos, err := s.store.ListConvosOfAccount(ctx, run.User)
	if err != nil {
		return erased, err
	}
	for _, convo := range convos {
		n, err := s.eraseFrom(ctx, store.Erasure{ConvoID: convo, Run: run, At: at})
		erased.Add(n)
		if err != nil {
			return erased, err
		}
	}
	n, err := s.store.EraseAccount(ctx, run)
	erased.Add(n)
	return erased, err
}

// eraseFrom takes an account out of a conversation, and deletes one that nobody else is in.
func (s *Service) eraseFrom(ctx context.Context, e store.Erasure) (store.Erased, error) {
	erased, empty := store.Erased{}, false
	err := s.store.InTx(ctx, func(tx *store.Tx) (err error) {
		empty, err = emptied(ctx, tx, e)
		if err != nil || empty {
			return err // until it is deleted its rows name the account: a later run finds it
		}
		erased, err = tx.EraseFromConvo(ctx, e)
		return err
	})
	if err == nil && empty {
		erased, err = s.store.DeleteConvo(ctx, e.ConvoID)
	}
	// Audit and reports may have outlived it.
	if err != nil && !errors.Is(err, mls.ErrConvoNotFound) {
		return erased, err
	}
	n, err := s.store.EraseHistory(ctx, e)
	erased.Add(n)
	return erased, err
}

// emptied takes an account off a roster, and reports whether nobody else is on it. It locks the
// conversation.
func emptied(ctx context.Context, tx *store.Tx, e store.Erasure) (bool, error) {
	locked, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: e.ConvoID})
	if err != nil {
		return false, err
	}
	if err := tx.HoldErasure(ctx, e.Run); err != nil {
		return false, err
	}
	if err := depart(ctx, tx, &locked, e.Run.User, e.At); err != nil {
		return false, err
	}
	users, err := tx.CountUsers(ctx, e.ConvoID)
	if err != nil || users > 0 {
		return false, err
	}
	return true, dismiss(ctx, tx, e)
}

// dismiss ends the invitations to a conversation that has no members any more.
func dismiss(ctx context.Context, tx *store.Tx, e store.Erasure) error {
	for {
		users, err := tx.ListSomeUsers(ctx, e.ConvoID, closedAtOnce)
		if err != nil || len(users) == 0 {
			return err
		}
		for _, user := range users {
			if _, err := tx.RemoveUser(ctx, e.ConvoID, user, store.LeaveRemoved, e.At); err != nil {
				return err
			}
		}
	}
}

// depart takes a user off the roster, if it is on it, and asks the members to remove its leaves.
func depart(ctx context.Context, tx *store.Tx, convo *store.Convo, user mls.DID, at time.Time) error {
	active, err := tx.FindActive(ctx, convo.ID, user)
	if err != nil || len(active) == 0 {
		return err
	}
	if err := endMembership(ctx, tx, convo, ending{Removal: Removal{Actor: user, Target: user, At: at}}); err != nil {
		return err
	}
	return succeed(ctx, tx, convo.ID, user, at)
}

// closedAtOnce is how many users one transaction takes off the roster of a conversation that is
// closed.
const closedAtOnce = 20

// CloseConvo ends a conversation for all of its users, admins first, and deletes it. It may be cut
// off anywhere and run again. The error is mls.ErrConvoNotFound when it is done.
func (s *Service) CloseConvo(ctx context.Context, a store.OperatorAction) (users int, err error) {
	for {
		var removed int
		err := s.store.InTx(ctx, func(tx *store.Tx) (err error) {
			removed, err = expelSome(ctx, tx, a)
			return err
		})
		if err != nil {
			return users, err
		}
		if users += removed; removed == 0 {
			_, err = s.store.DeleteConvo(ctx, a.ConvoID)
			return users, err
		}
	}
}

// expelSome takes some users off a roster.
func expelSome(ctx context.Context, tx *store.Tx, a store.OperatorAction) (int, error) {
	if _, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: a.ConvoID}); err != nil {
		return 0, err
	}
	if err := tx.AuditOperator(ctx, a); err != nil {
		return 0, err
	}
	users, err := tx.ListSomeUsers(ctx, a.ConvoID, closedAtOnce)
	if err != nil {
		return 0, err
	}
	for _, user := range users {
		if _, err := tx.RemoveUser(ctx, a.ConvoID, user, store.LeaveRemoved, a.At); err != nil {
			return 0, err
		}
	}
	return len(users), nil
}
