package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Removal takes a user with all devices off the roster.
type Removal struct {
	Actor, Target mls.DID
	// Kicked is false for users who leave.
	Kicked bool
	// Reason is for the audit, "" for none.
	Reason string
	// Commit, when not nil, is the checked commit that removes the leaves at once.
	Commit *Handshake
	// Proposed is true when the target's own proposal stands in this epoch, which the next commit has to contain.
	Proposed bool
	At       time.Time
}

// Remove ends a membership. Its place in the order of events is the place
// where the user's streams end (I10). Without a commit a debt stays on record.
func (s *Service) Remove(ctx context.Context, tx *store.Tx, convo *store.Convo, r Removal) error {
	if r.Commit != nil {
		if _, err := s.Commit(ctx, tx, convo, r.Actor, *r.Commit, r.At); err != nil {
			return err
		}
	}
	reason := store.LeaveSelf
	if r.Kicked {
		reason = store.LeaveRemoved
	}
	gone, err := tx.RemoveUser(ctx, convo.ID, r.Target, reason, r.At)
	switch {
	case err != nil:
		return err
	case len(gone) == 0:
		return mls.ErrNotMember
	}
	if r.Kicked {
		if err := tx.Audit(ctx, store.AdminAction{
			ConvoID: convo.ID, Actor: r.Actor, Kind: store.ActionRemove, Target: r.Target, Reason: r.Reason, At: r.At,
		}); err != nil {
			return err
		}
	}
	if r.Commit != nil {
		return nil
	}
	ids, err := tx.OweRemovals(ctx, convo.ID, r.Target, gone, store.Owing{Epoch: convo.Epoch, Proposed: r.Proposed, At: r.At})
	if err != nil {
		return err
	}
	events := make([]store.NewEvent, len(gone))
	for i, d := range gone {
		events[i] = store.NewEvent{
			Kind: store.EventRemovalPending, Audience: store.ToMembers, User: r.Target, Device: d.Device, Request: ids[i],
		}
	}
	return tx.AppendEvents(ctx, convo.ID, r.At, events...)
}

// Settle accepts a commit whose sender says that it removes the leaves of a
// user who is off the roster already.
func (s *Service) Settle(ctx context.Context, tx *store.Tx, convo *store.Convo, target mls.DID, r Removal) error {
	if _, err := s.Commit(ctx, tx, convo, r.Actor, *r.Commit, r.At); err != nil {
		return err
	}
	_, err := tx.SettleDebts(ctx, convo.ID, []mls.DID{target}, convo.Epoch, r.At)
	return err
}

// Succeed keeps a conversation from being left without an admin: the
// longest-standing member takes the role.
func (s *Service) Succeed(ctx context.Context, tx *store.Tx, convo mls.ConvoID, leaver mls.DID, at time.Time) error {
	admins, err := tx.ListAdmins(ctx, convo)
	if err != nil || len(admins) > 0 {
		return err
	}
	successor, err := tx.FindSuccessor(ctx, convo, leaver)
	switch {
	case errors.Is(err, mls.ErrLastMember):
		return nil
	case err != nil:
		return err
	}
	if err := tx.Promote(ctx, convo, successor, leaver, at); err != nil {
		return err
	}
	if err := tx.Audit(ctx, store.AdminAction{ConvoID: convo, Actor: leaver, Kind: store.ActionSucceed, Target: successor, At: at}); err != nil {
		return err
	}
	return tx.AppendEvents(ctx, convo, at, store.NewEvent{Kind: store.EventAdminChanged, Audience: store.ToMembers, User: successor})
}
