package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// PromoteAdmin makes a member an admin, over all of its devices.
func (h *Handlers) PromoteAdmin(ctx context.Context, caller lexrt.Caller, in *mlsapi.PromoteAdminInput) (*mlsapi.PromoteAdminOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	now := h.now()
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.LockAsAdmin(ctx, key, caller.DID)
		if err != nil {
			return err
		}
		if err := requireActive(ctx, tx, convo.ID, in.TargetDID); err != nil {
			return err
		}
		if err := tx.Promote(ctx, convo.ID, in.TargetDID, caller.DID, now); err != nil {
			return err
		}
		return adminChanged(ctx, tx, store.AdminAction{
			ConvoID: convo.ID, Actor: caller.DID, Kind: store.ActionPromote, Target: in.TargetDID, At: now,
		})
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.PromoteAdminOutput{OK: true, PromotedAt: datetime(now)}, nil
}
