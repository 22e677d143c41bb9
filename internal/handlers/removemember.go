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
	removal := delivery.Removal{Key: key, Actor: caller.DID, Target: in.TargetDID, Reason: orEmpty(in.Reason), At: h.now()}
	if in.Commit != nil {
		removal.Commit = bundle(in.Commit, in.GroupInfo, in.SendKey)
	}
	r := request{
		method: mlsapi.MethodRemoveMember, caller: caller.DID, key: &in.IdempotencyKey, input: in,
		prepare: func(ctx context.Context) error { return h.Delivery.ExamineRemoval(ctx, removal) },
	}
	return race(ctx, h, key, r, func(tx *store.Tx) (*mlsapi.RemoveMemberOutput, error) {
		stored, err := h.Delivery.Remove(ctx, tx, removal)
		return &mlsapi.RemoveMemberOutput{
			OK: true, EpochHint: int64(stored.Epoch), MessageID: optional(stored.CommitID), Seq: optionalSeq(stored.CommitSeq),
		}, err
	})
}
