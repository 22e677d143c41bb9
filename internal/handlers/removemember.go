package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// RemoveMember takes a user with all devices out of a conversation.
func (h *Handlers) RemoveMember(ctx context.Context, caller lexrt.Caller, in *mlsapi.RemoveMemberInput) (*mlsapi.RemoveMemberOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	r := request{method: mlsapi.MethodRemoveMember, caller: caller.DID, key: &in.IdempotencyKey, input: in}
	return once(ctx, h, r, func(tx *store.Tx) (*mlsapi.RemoveMemberOutput, error) {
		convo, err := tx.LockAsAdmin(ctx, key, caller.DID)
		switch {
		case err != nil:
			return nil, err
		case in.TargetDID == caller.DID:
			return nil, mls.ErrCannotRemoveSelf
		}
		removal := delivery.Removal{Actor: caller.DID, Target: in.TargetDID, Kicked: true, At: h.now()}
		if in.Reason != nil {
			removal.Reason = *in.Reason
		}
		if in.Commit != nil {
			commit, err := delivery.ParseCommit(in.Commit, &convo.Convo)
			if err != nil {
				return nil, err
			}
			removal.Commit = &commit
		}
		if err := requireActive(ctx, tx, convo.ID, in.TargetDID); err != nil {
			return nil, err
		}
		if err := h.Delivery.Remove(ctx, tx, &convo.Convo, removal); err != nil {
			return nil, err
		}
		return &mlsapi.RemoveMemberOutput{OK: true, EpochHint: int64(convo.Epoch)}, nil
	})
}
