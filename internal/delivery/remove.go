package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Removal is one user's request to take another off the roster, with all devices.
type Removal struct {
	Key           mls.ConvoKey
	Actor, Target mls.DID
	// Reason is for the audit, "" for none.
	Reason string
	// Commit removes the leaves at once. Remove takes nil for none.
	Commit *mls.Candidate
	At     time.Time
}

// Remove takes a user off the roster for an admin. Without a commit a debt
// stays on record. Errors: those of LockAsAdmin, mls.ErrCannotRemoveSelf, mls.ErrNotMember when
// the target is not in the conversation, those of mls.Candidate.
func (s *Service) Remove(ctx context.Context, tx *store.Tx, r Removal) (Stored, error) {
	standing, err := tx.LockAsAdmin(ctx, r.Key, r.Actor)
	switch {
	case err != nil:
		return Stored{}, err
	case r.Target == r.Actor:
		return Stored{}, mls.ErrCannotRemoveSelf
	}
	convo := &standing.Convo
	end := ending{Removal: r, kicked: true}
	if r.Commit != nil {
		h, err := judge(ctx, tx, &standing, r.Commit, submission{r.Actor, r.At})
		if err != nil {
			return Stored{}, err
		}
		end.commit = &h
	}
	if err := requireActive(ctx, tx, convo.ID, r.Target); err != nil {
		return Stored{}, err
	}
	err = endMembership(ctx, tx, convo, end)
	return storedIn(convo, r.Commit != nil), err
}

// ExamineRemoval verifies the signatures of a removal's commit before Remove locks the
// conversation.
func (s *Service) ExamineRemoval(ctx context.Context, r Removal) error {
	if r.Commit != nil {
		s.examine(ctx, r.Key, r.Actor, r.Commit)
	}
	return nil
}

// RemoveByCommit removes another user by a commit. An admin may do so
// with anyone; any member may commit the removal of a user who is off the roster and still owes its
// leaves (ADR 5). It counts as a removal, by whatever method it came. Errors as Remove, and
// mls.ErrNotAdmin, mls.ErrRateLimitExceeded.
func (s *Service) RemoveByCommit(ctx context.Context, r Removal) (Stored, error) {
	if err := s.take(ctx, "removeMember", string(r.Actor), 1); err != nil {
		return Stored{}, err
	}
	s.examine(ctx, r.Key, r.Actor, r.Commit)
	var stored Stored
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsMember(ctx, r.Key, r.Actor)
		if err != nil {
			return err
		}
		convo := &standing.Convo
		if stored, err = r.before(ctx, tx, convo.ID); err != nil || stored.CommitSeq != 0 {
			return err
		}
		settles, err := owesOnly(ctx, tx, convo.ID, r.Target)
		switch {
		case err != nil:
			return err
		case !standing.Admin && !settles:
			return mls.ErrNotAdmin
		}
		h, err := judge(ctx, tx, &standing, r.Commit, submission{r.Actor, r.At})
		if err != nil {
			return err
		}
		if settles {
			err = settle(ctx, tx, convo, r.Target, h)
		} else {
			err = endMembership(ctx, tx, convo, ending{Removal: r, kicked: true, commit: &h})
		}
		stored = storedIn(convo, true)
		return err
	})
	return stored, s.AfterRace(ctx, r.Key, r.Actor, err)
}

// before is what the request has done already, zero for nothing: its commit was accepted and has
// removed the target, and the answer was lost.
func (r *Removal) before(ctx context.Context, tx *store.Tx, convo mls.ConvoID) (Stored, error) {
	made, readable := r.Commit.Epoch()
	if !readable {
		return Stored{}, nil
	}
	seq, id, err := tx.FindAccepted(ctx, convo, made, r.Actor, r.Commit.Bytes)
	if err != nil || seq == 0 {
		return Stored{}, err
	}
	active, err := tx.FindActive(ctx, convo, r.Target)
	if err != nil || len(active) > 0 {
		return Stored{}, err
	}
	return Stored{Epoch: made + 1, CommitID: id, CommitSeq: seq}, nil
}

// owesOnly reports whether a user is off the roster and its leaves are still to be removed.
func owesOnly(ctx context.Context, tx *store.Tx, convo mls.ConvoID, user mls.DID) (bool, error) {
	debts, err := debtsOf(ctx, tx, convo, user)
	if err != nil || len(debts) == 0 {
		return false, err
	}
	active, err := tx.FindActive(ctx, convo, user)
	return len(active) == 0, err
}

// debtsOf is the leaves of a user that are still to be removed.
func debtsOf(ctx context.Context, tx *store.Tx, convo mls.ConvoID, user mls.DID) ([]store.Debt, error) {
	debts, err := tx.ListDebts(ctx, convo)
	return slices.DeleteFunc(debts, func(d store.Debt) bool { return d.Device.User != user }), err
}

// settle accepts a commit whose sender says that it removes the leaves of a user who is off the
// roster already.
func settle(ctx context.Context, tx *store.Tx, convo *store.Convo, target mls.DID, h handshake) error {
	debts, err := debtsOf(ctx, tx, convo.ID, target)
	if err != nil {
		return err
	}
	known := make([]*int64, len(debts))
	for i, d := range debts {
		known[i] = d.LeafIndex
	}
	if err := h.removes(known); err != nil {
		return err
	}
	if _, err := commit(ctx, tx, convo, h); err != nil {
		return err
	}
	_, err = tx.SettleDebts(ctx, convo.ID, []mls.DID{target}, placeOf(convo, h.at))
	return err
}

// ending is the end of a membership.
type ending struct {
	Removal
	// kicked is false for users who leave.
	kicked bool
	// commit, when not nil, is the judged commit that removes the leaves at once.
	commit *handshake
	// proposed is true when the target's own proposal stands in this epoch: the next commit has to
	// contain it.
	proposed bool
}

// endMembership takes a user off the roster. Its place in the order of events is the place where
// the user's streams end (I10).
func endMembership(ctx context.Context, tx *store.Tx, convo *store.Convo, e ending) error {
	if e.commit != nil {
		if err := e.commitRemoval(ctx, tx, convo); err != nil {
			return err
		}
	}
	reason := store.LeaveSelf
	if e.kicked {
		reason = store.LeaveRemoved
	}
	left, err := tx.RemoveUser(ctx, convo.ID, e.Target, reason, e.At)
	switch {
	case err != nil:
		return err
	case len(left) == 0:
		return mls.ErrNotMember
	}
	if e.kicked {
		if err := tx.Audit(ctx, store.AdminAction{
			ConvoID: convo.ID, Actor: e.Actor, Kind: store.ActionRemove, Target: e.Target, Reason: e.Reason, At: e.At,
		}); err != nil {
			return err
		}
	}
	if e.commit != nil {
		return nil
	}
	return e.owe(ctx, tx, convo, left)
}

// commitRemoval accepts the commit that removes the target's leaves.
func (e *ending) commitRemoval(ctx context.Context, tx *store.Tx, convo *store.Convo) error {
	active, err := tx.FindActive(ctx, convo.ID, e.Target)
	if err != nil {
		return err
	}
	known := make([]*int64, len(active))
	for i, d := range active {
		known[i] = d.LeafIndex
	}
	if err := e.commit.removes(known); err != nil {
		return err
	}
	_, err = commit(ctx, tx, convo, *e.commit)
	return err
}

// owe records the leaves that stay in the group, and asks the members to remove them.
func (e *ending) owe(ctx context.Context, tx *store.Tx, convo *store.Convo, left []store.LeftDevice) error {
	ids, err := tx.OweRemovals(ctx, convo.ID, e.Target, left, store.Owing{Generation: convo.Generation, Epoch: convo.Epoch, Proposed: e.proposed, At: e.At})
	if err != nil {
		return err
	}
	events := make([]store.NewEvent, len(left))
	for i, d := range left {
		events[i] = store.NewEvent{
			Kind: store.EventRemovalPending, Audience: store.ToMembers, User: e.Target, Device: d.Device, Request: ids[i],
		}
	}
	return tx.AppendEvents(ctx, convo.ID, e.At, events...)
}

// Departure is a user's request to leave.
type Departure struct {
	Key  mls.ConvoKey
	User mls.DID
	// Proposal is the user's proposal to remove its own leaf, nil for none. Nobody can commit its
	// own removal (RFC 9420 12.2).
	Proposal *mls.Candidate
	At       time.Time
}

// Leave takes a user off the roster at its own wish, and returns the epoch. A repeat succeeds and
// changes nothing. Errors: mls.ErrConvoNotFound, mls.ErrNotMember for who was removed,
// mls.ErrLastMember, those of mls.Candidate.
func (s *Service) Leave(ctx context.Context, d Departure) (mls.Epoch, error) {
	if d.Proposal != nil {
		s.examine(ctx, d.Key, d.User, d.Proposal)
	}
	var epoch mls.Epoch
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockStanding(ctx, d.Key, d.User)
		if err != nil {
			return err
		}
		epoch = standing.Epoch
		switch {
		case standing.Member:
			return leave(ctx, tx, &standing, d)
		case standing.LeftReason == store.LeaveSelf:
			return nil
		}
		return mls.ErrNotMember
	})
	return epoch, err
}

func leave(ctx context.Context, tx *store.Tx, standing *store.Standing, d Departure) error {
	convo := &standing.Convo
	users, err := tx.CountUsers(ctx, convo.ID)
	switch {
	case err != nil:
		return err
	case users <= 1:
		return mls.ErrLastMember
	}
	if d.Proposal != nil {
		h, err := judge(ctx, tx, standing, d.Proposal, submission{d.User, d.At})
		switch {
		case err != nil:
			return err
		case h.Visible && !h.OwnRemoval():
			return mls.InvalidCommit(mls.CodeForbiddenProposal)
		}
		if _, err := propose(ctx, tx, convo, h); err != nil {
			return err
		}
	}
	end := ending{Removal: Removal{Actor: d.User, Target: d.User, At: d.At}, proposed: d.Proposal != nil}
	if err := endMembership(ctx, tx, convo, end); err != nil {
		return err
	}
	return succeed(ctx, tx, convo.ID, d.User, d.At)
}

// succeed keeps a conversation from being left without an admin: the longest-standing member takes
// the role.
func succeed(ctx context.Context, tx *store.Tx, convo mls.ConvoID, leaver mls.DID, at time.Time) error {
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
	if err := tx.AppointAdmin(ctx, convo, successor, leaver, at); err != nil {
		return err
	}
	return adminChanged(ctx, tx, store.AdminAction{ConvoID: convo, Actor: leaver, Kind: store.ActionSucceed, Target: successor, At: at})
}
