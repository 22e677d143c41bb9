package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// DemoteAdmin takes the admin role from a member or from oneself. Under the
// conversation's lock, of two admins who demote each other one is the last.
func (h *Handlers) DemoteAdmin(ctx context.Context, caller lexrt.Caller, in *mlsapi.DemoteAdminInput) (*mlsapi.DemoteAdminOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.LockAsAdmin(ctx, key, caller.DID)
		if err != nil {
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
