package handlers

import (
	"context"
	"slices"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// LeaveConvo lets the caller leave, or takes another user out with a commit.
func (h *Handlers) LeaveConvo(ctx context.Context, caller lexrt.Caller, in *mlsapi.LeaveConvoInput) (*mlsapi.LeaveConvoOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	out := &mlsapi.LeaveConvoOutput{Success: true}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.LockStanding(ctx, key, caller.DID)
		if err != nil {
			return err
		}
		other := in.TargetDID != nil && *in.TargetDID != caller.DID
		switch {
		case !convo.Member && (other || convo.LeftReason != store.LeaveSelf):
			return mls.ErrNotMember
		case !convo.Member: // repeating a leave succeeds
		case other:
			err = h.takeOut(ctx, tx, &convo, delivery.Removal{Actor: caller.DID, Target: *in.TargetDID, Kicked: true, At: h.now()}, in.Commit)
		default:
			err = h.leave(ctx, tx, &convo.Convo, delivery.Removal{Actor: caller.DID, Target: caller.DID, At: h.now()}, in.Commit)
		}
		out.NewEpoch = int64(convo.Epoch)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// leave takes the caller off the roster. Nobody can commit its own removal
// (RFC 9420 12.2), so the commit field may hold a proposal only.
func (h *Handlers) leave(ctx context.Context, tx *store.Tx, convo *store.Convo, r delivery.Removal, proposal *string) error {
	users, err := tx.CountUsers(ctx, convo.ID)
	switch {
	case err != nil:
		return err
	case users <= 1:
		return mls.ErrLastMember
	}
	if proposal != nil {
		p, err := delivery.ParseProposal(proposal, convo)
		if err != nil {
			return err
		}
		if _, err := h.Delivery.Propose(ctx, tx, convo, p, r.At); err != nil {
			return err
		}
		r.Proposed = true
	}
	if err := h.Delivery.Remove(ctx, tx, convo, r); err != nil {
		return err
	}
	return h.Delivery.Succeed(ctx, tx, convo.ID, r.Target, r.At)
}

// takeOut removes another user by a commit. An admin may do so with anyone; any
// member may commit the removal of a user who is off the roster and still owes its leaves (ADR 5).
func (h *Handlers) takeOut(ctx context.Context, tx *store.Tx, convo *store.Standing, r delivery.Removal, text *string) error {
	debts, err := tx.ListDebts(ctx, convo.ID)
	if err != nil {
		return err
	}
	owed := slices.ContainsFunc(debts, func(d store.Debt) bool { return d.Device.User == r.Target })
	active, err := tx.FindActive(ctx, convo.ID, r.Target)
	if err != nil {
		return err
	}
	settles := owed && len(active) == 0
	if !convo.Admin && !settles {
		return mls.ErrNotAdmin
	}
	commit, err := delivery.ParseCommit(text, &convo.Convo)
	if err != nil {
		return err
	}
	r.Commit = &commit
	if settles {
		return h.Delivery.Settle(ctx, tx, &convo.Convo, r.Target, r)
	}
	return h.Delivery.Remove(ctx, tx, &convo.Convo, r)
}
