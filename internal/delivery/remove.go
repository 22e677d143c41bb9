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
	Commit *Bundle
	At     time.Time
}

// Remove takes a user off the roster for an admin. Without a commit a debt
// stays on record. Errors: those of LockAsAdmin, mls.ErrCannotRemoveSelf, mls.ErrNotMember when
// the target is not in the conversation, those of judge.
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
	if err := requireOnRoster(ctx, tx, convo.ID, r.Target); err != nil {
		return Stored{}, err
	}
	return endByCommit(ctx, tx, convo, end)
}

// ExamineRemoval verifies the signatures of a removal's commit before Remove locks the
// conversation.
func (s *Service) ExamineRemoval(ctx context.Context, r Removal) error {
	if r.Commit != nil {
		s.examine(ctx, r.Key, r.Actor, r.Commit)
	}
	return nil
}

// RemoveByCommit removes another user by a commit. An admin may do so with
// anyone; any member may commit the removal of a user who is off the roster and still owes its
// leaves (ADR 5). It counts as a removal, by whatever method it came. Errors as Remove, and
// mls.ErrNotAdmin, mls.ErrRateLimitExceeded.
func (s *Service) RemoveByCommit(ctx context.Context, r Removal) (Stored, error) {
	if err := s.take(ctx, "removeMember", string(r.Actor), 1); err != nil {
		return Stored{}, err
	}
	s.examine(ctx, r.Key, r.Actor, r.Commit)
	var out Stored
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsMember(ctx, r.Key, r.Actor)
		if err != nil {
			return err
		}
		convo := &standing.Convo
		if out, err = r.before(ctx, tx, convo.ID); err != nil || out.CommitSeq != 0 {
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
			out, err = settle(ctx, tx, convo, r.Target, h)
		} else {
			out, err = endByCommit(ctx, tx, convo, ending{Removal: r, kicked: true, commit: &h})
		}
		return err
	})
	return out, s.AfterRace(ctx, r.Key, r.Actor, err)
}

// before is what the request has done already, zero for nothing: its commit was accepted and has
// removed the target, and the answer was lost.
func (r *Removal) before(ctx context.Context, tx *store.Tx, convo mls.ConvoID) (Stored, error) {
	made, readable := r.Commit.Handshake.Epoch()
	if !readable {
		return Stored{}, nil
	}
	seq, id, err := tx.FindAccepted(ctx, convo, made, r.Actor, r.Commit.Handshake.Bytes)
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
func settle(ctx context.Context, tx *store.Tx, convo *store.Convo, target mls.DID, h handshake) (Stored, error) {
	debts, err := debtsOf(ctx, tx, convo.ID, target)
	if err != nil {
		return Stored{}, err
	}
	known := make([]*int64, len(debts))
	for i, d := range debts {
		known[i] = d.LeafIndex
	}
	if err := h.removes(target, known); err != nil {
		return Stored{}, err
	}
	out, err := commit(ctx, tx, convo, h)
	if err != nil {
		return out, err
	}
	switch {
	case h.change != nil: // conclude does it
	case h.seen():
		_, err = tx.SettleDebts(ctx, convo.ID, []mls.DID{target}, placeOf(convo, h.at))
	default:
		err = tx.ClaimDebts(ctx, convo.ID, []mls.DID{target}, h.sender, placeOf(convo, h.at))
	}
	if err != nil {
		return out, err
	}
	return out, conclude(ctx, tx, convo, h, out)
}

// ending is the end of a membership.
type ending struct {
	Removal
	// kicked is false for users who leave; displaced are those whose invitation had to make room.
	kicked, displaced bool
	// commit, when not nil, is the judged commit that removes the leaves at once. committed says
	// that it was accepted.
	commit    *handshake
	committed bool
	// proposed is true when the target's own proposal stands in this epoch: the next commit has to
	// contain it.
	proposed bool
}

// endByCommit takes a user off the roster, by a commit if there is one: what removes the leaves
// comes before what the user no longer sees.
func endByCommit(ctx context.Context, tx *store.Tx, convo *store.Convo, e ending) (Stored, error) {
	out := Stored{Epoch: convo.Epoch}
	if e.commit == nil {
		return out, endMembership(ctx, tx, convo, e)
	}
	out, err := e.commitRemoval(ctx, tx, convo)
	if err != nil {
		return out, err
	}
	e.committed = true
	if err := endMembership(ctx, tx, convo, e); err != nil {
		return out, err
	}
	return out, conclude(ctx, tx, convo, *e.commit, out)
}

// endMembership takes a user off the roster. Its place in the order of events is the place where
// the user's streams end (I10).
func endMembership(ctx context.Context, tx *store.Tx, convo *store.Convo, e ending) error {
	reason := store.LeaveSelf
	if e.kicked || e.displaced {
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
	switch {
	case !e.committed:
		return e.owe(ctx, tx, convo, left)
	case e.commit == nil || e.commit.seen():
		return nil
	}
	// What cannot be read is the committer's word, for the members to confirm.
	left = slices.DeleteFunc(left, func(d store.LeftDevice) bool { return d.Vacant })
	if _, err := tx.OweRemovals(ctx, convo.ID, e.Target, left, store.Owing{Generation: convo.Generation, Epoch: convo.Epoch, At: e.At}); err != nil {
		return err
	}
	return tx.ClaimDebts(ctx, convo.ID, []mls.DID{e.Target}, e.commit.sender, placeOf(convo, e.At))
}

// commitRemoval accepts the commit that removes the target's leaves.
func (e *ending) commitRemoval(ctx context.Context, tx *store.Tx, convo *store.Convo) (Stored, error) {
	active, err := tx.FindActive(ctx, convo.ID, e.Target)
	if err != nil {
		return Stored{}, err
	}
	known := make([]*int64, len(active))
	for i, d := range active {
		known[i] = d.LeafIndex
	}
	if err := e.commit.removes(e.Target, known); err != nil {
		return Stored{}, err
	}
	e.commit.urgent = true
	return commit(ctx, tx, convo, *e.commit)
}

// owe records the leaves that stay in the group, and asks the members to remove them. In a group
// that the server follows, a device without a known leaf has none.
func (e *ending) owe(ctx context.Context, tx *store.Tx, convo *store.Convo, left []store.LeftDevice) error {
	left = slices.DeleteFunc(left, func(d store.LeftDevice) bool { return d.Vacant || convo.Verified && d.LeafIndex == nil })
	if len(left) == 0 {
		return nil
	}
	ids, err := tx.OweRemovals(ctx, convo.ID, e.Target, left, store.Owing{Generation: convo.Generation, Epoch: convo.Epoch, Proposed: e.proposed, At: e.At})
	if err != nil {
		return err
	}
	events := make([]store.NewEvent, len(left))
	for i, d := range left {
		events[i] = removalEvent(store.Device{User: e.Target, ID: d.Device}, ids[i], d.Invited)
	}
	return tx.AppendEvents(ctx, convo.ID, e.At, events...)
}

// removalEvent asks the members to remove a device. Of a user who never accepted they do not learn
// which one it is.
func removalEvent(d store.Device, id store.RequestID, withheld bool) store.NewEvent {
	if withheld {
		d.ID = ""
	}
	return store.NewEvent{Kind: store.EventRemovalPending, Audience: store.ToMembers, User: d.User, Device: d.ID, Request: id}
}

// Departure is a user's request to leave.
type Departure struct {
	Key  mls.ConvoKey
	User mls.DID
	// Proposal is the user's proposal to remove its own leaf, nil for none. Nobody can commit its
	// own removal (RFC 9420 12.2).
	Proposal *Bundle
	At       time.Time
}

// Leave takes a user off the roster at its own wish; an invited one declines. A repeat succeeds and
// changes nothing. Errors: mls.ErrConvoNotFound, mls.ErrNotMember for who was removed,
// mls.ErrLastMember, those of judge.
func (s *Service) Leave(ctx context.Context, d Departure) (Stored, error) {
	if d.Proposal != nil {
		s.examine(ctx, d.Key, d.User, d.Proposal)
	}
	var out Stored
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockStanding(ctx, d.Key, d.User)
		if err != nil {
			return err
		}
		out = Stored{Epoch: standing.Epoch}
		switch {
		case standing.Member || standing.Invited:
			out, err = leave(ctx, tx, &standing, d)
			return err
		case standing.LeftReason == store.LeaveSelf:
			return nil
		}
		return mls.ErrNotMember
	})
	return out, s.TellGroup(ctx, d.Key, d.User, err)
}

func leave(ctx context.Context, tx *store.Tx, standing *store.Standing, d Departure) (Stored, error) {
	convo := &standing.Convo
	out := Stored{Epoch: convo.Epoch}
	if err := mayLeave(ctx, tx, standing); err != nil {
		return out, err
	}
	proposed := false
	if d.Proposal != nil {
		h, err := judge(ctx, tx, standing, d.Proposal, submission{d.User, d.At})
		switch {
		case err != nil:
			return out, err
		case h.Visible && !h.OwnRemoval():
			return out, mls.InvalidCommit(mls.CodeForbiddenProposal)
		}
		if out, err = propose(ctx, tx, convo, h); err != nil {
			return out, err
		}
		proposed = !h.unknown()
	}
	end := ending{Removal: Removal{Actor: d.User, Target: d.User, At: d.At}, proposed: proposed}
	if err := endMembership(ctx, tx, convo, end); err != nil {
		return out, err
	}
	return out, succeed(ctx, tx, convo.ID, d.User, d.At)
}

// mayLeave keeps the last member: whoever is only invited cannot go on with the conversation.
// Declining is always possible.
func mayLeave(ctx context.Context, tx *store.Tx, standing *store.Standing) error {
	if standing.Invited {
		return nil
	}
	users, err := tx.CountUsers(ctx, standing.ID)
	if err == nil && users <= 1 {
		return mls.ErrLastMember
	}
	return err
}

// succeed keeps a conversation from being left without an admin: the longest-standing member takes
// the role, of those with a device if there are any.
func succeed(ctx context.Context, tx *store.Tx, convo mls.ConvoID, leaver mls.DID, at time.Time) error {
	admins, err := tx.ListAdmins(ctx, convo)
	if err != nil || slices.ContainsFunc(admins, func(a store.Admin) bool { return !a.Vacant }) {
		return err
	}
	successor, err := tx.FindSuccessor(ctx, convo, leaver)
	switch {
	case errors.Is(err, mls.ErrLastMember), err == nil && successor.Vacant && len(admins) > 0:
		return nil
	case err != nil:
		return err
	}
	if err := tx.AppointAdmin(ctx, convo, successor.User, leaver, at); err != nil {
		return err
	}
	return adminChanged(ctx, tx, store.AdminAction{ConvoID: convo, Actor: leaver, Kind: store.ActionSucceed, Target: successor.User, At: at})
}
