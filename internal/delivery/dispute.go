package delivery

import (
	"context"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// confirmations is how many users close a removal, none of whom is an admin.
const confirmations = 2

// RemovalReport is a user's word on whether a removal was made.
type RemovalReport struct {
	Key     mls.ConvoKey
	User    mls.DID
	Request store.RequestID
	// Gone says that the leaf is no longer in the group.
	Gone bool
	At   time.Time
}

// ReportRemoval hears a member about a removal in a group that the server does not follow. It is
// closed when an admin, or two users, say that the leaf is gone, none of them its committer; any
// member may open it again whenever that was done. Each user says once that the leaf is gone, until
// another commit is said to remove it: so there are no more closings, and openings, of a claim than
// there are users. open says whether it is open by that, or was. Errors: those of LockAsMember,
// mls.ErrInvalidInput for what is no removal of such a group.
func (s *Service) ReportRemoval(ctx context.Context, r RemovalReport) (open bool, err error) {
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		open = false
		standing, err := tx.LockAsMember(ctx, r.Key, r.User)
		if err != nil {
			return err
		}
		claim, err := tx.FindClaim(ctx, standing.ID, r.Request)
		switch {
		case err != nil:
			return err
		case claim == nil || standing.Verified || claim.Generation != standing.Generation:
			return mls.InvalidInput("/requestId", "must name a removal from the conversation's group, which the service does not follow")
		case r.Gone:
			return r.confirm(ctx, tx, &standing, claim)
		}
		open, err = r.dispute(ctx, tx, &standing.Convo, claim)
		return err
	})
	return open, err
}

// confirm hears a user who says that the leaf is gone. The committer is not heard, unless it is the
// only one who is left.
func (r *RemovalReport) confirm(ctx context.Context, tx *store.Tx, s *store.Standing, c *store.Claim) error {
	roster, err := tx.ListMembers(ctx, s.ID)
	if err != nil {
		return err
	}
	heard := without(Members(roster), []mls.DID{c.Committer, c.Device.User})
	if c.Settled || slices.Contains(c.Spent, r.User) || len(heard) > 0 && !slices.Contains(heard, r.User) {
		return nil
	}
	said := slices.DeleteFunc(c.Confirmed, func(did mls.DID) bool { return did == r.User || !slices.Contains(heard, did) })
	if !slices.Contains(c.Confirmed, r.User) {
		if err := tx.ConfirmDebt(ctx, s.ID, r.Request, r.User); err != nil {
			return err
		}
	}
	if !s.Admin && len(said)+1 < min(confirmations, len(heard)) {
		return nil
	}
	return tx.CloseDebt(ctx, &s.Convo, r.Request, r.At)
}

// dispute hears a user who says that the leaf is still there, and asks the members to remove it.
func (r *RemovalReport) dispute(ctx context.Context, tx *store.Tx, convo *store.Convo, c *store.Claim) (open bool, err error) {
	switch {
	case !c.Settled && c.Committer == "":
		return true, nil
	case slices.Contains(c.Disputed, r.User) || c.Settled && len(c.Confirmed) == 0:
		return false, nil // it was heard, or nobody's word has closed the removal
	}
	if again, err := owedOrBack(ctx, tx, convo.ID, c.Device); err != nil || again && c.Settled {
		return false, err
	}
	if err := tx.DisputeDebt(ctx, convo.ID, r.Request, r.User); err != nil {
		return false, err
	}
	return true, tx.AppendEvents(ctx, convo.ID, r.At, removalEvent(c.Device, r.Request, c.Withheld))
}

// owedOrBack reports whether a device is on the roster again, or its removal is owed anew.
func owedOrBack(ctx context.Context, tx *store.Tx, convo mls.ConvoID, d store.Device) (bool, error) {
	active, err := tx.FindActive(ctx, convo, d.User)
	if err != nil {
		return false, err
	}
	debts, err := tx.ListDebts(ctx, convo)
	return slices.ContainsFunc(active, func(a store.ActiveDevice) bool { return a.Device == d }) ||
		slices.ContainsFunc(debts, func(o store.Debt) bool { return o.Device == d }), err
}
