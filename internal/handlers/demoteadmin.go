package handlers

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// crossing is within which time two demotions count as made at the same time:
// a round trip, and the two seconds that stored times are floored to.
const crossing = 5 * time.Second

// DemoteAdmin takes the admin role from a member or from oneself. Under the
// conversation's lock, of two admins who demote each other one is the last.
func (h *Handlers) DemoteAdmin(ctx context.Context, caller lexrt.Caller, in *mlsapi.DemoteAdminInput) (*mlsapi.DemoteAdminOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.LockAsAdmin(ctx, key, caller.DID)
		switch {
		case errors.Is(err, mls.ErrNotAdmin):
			return h.crossed(ctx, tx, key, caller.DID, in.TargetDID)
		case err != nil:
			return err
		}
		if err := requireActive(ctx, tx, convo.ID, in.TargetDID); err != nil {
			return err
		}
		if err := tx.Demote(ctx, convo.ID, in.TargetDID); err != nil {
			return err
		}
		return adminChanged(ctx, tx, store.AdminAction{
			ConvoID: convo.ID, Actor: caller.DID, Kind: store.ActionDemote, Target: in.TargetDID, At: h.now(),
		})
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.DemoteAdminOutput{OK: true}, nil
}

// crossed says what is wrong with the demotion of an admin by one who is none.
// When the target has just demoted the caller, the two requests have crossed,
// and the target is the last admin: that is what the caller has to learn.
func (h *Handlers) crossed(ctx context.Context, tx *store.Tx, key mls.ConvoKey, caller, target mls.DID) error {
	convo, err := tx.RequireMember(ctx, key, caller)
	if err != nil {
		return err
	}
	demoted, err := tx.WasDemotedBy(ctx, convo.ID, caller, target, h.Clock.Now().Add(-crossing))
	switch {
	case err != nil:
		return err
	case !demoted:
		return mls.ErrNotAdmin
	}
	admins, err := tx.ListAdmins(ctx, convo.ID)
	switch {
	case err != nil:
		return err
	case len(admins) == 1 && admins[0] == target:
		return mls.ErrLastAdmin
	}
	return mls.ErrNotAdmin
}
