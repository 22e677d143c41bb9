package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// GetBlockStatus looks up the blocks among the present members of a conversation.
func (h *Handlers) GetBlockStatus(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetBlockStatusParams) (*mlsapi.GetBlockStatusOutput, error) {
	key, err := mls.ParseConvoKey(params.ConvoID)
	if err != nil {
		return nil, err
	}
	convo, err := h.Store.RequireAdmin(ctx, key, caller.DID)
	if err != nil {
		return nil, err
	}
	roster, err := h.Store.ListMembers(ctx, convo.ID)
	if err != nil {
		return nil, err
	}
	users := delivery.Members(roster)
	if err := h.Delivery.TakeBlockPairs(ctx, caller.DID, len(users)); err != nil {
		return nil, err
	}
	answer, err := h.Blocks.Between(ctx, caller.DID, users)
	if err != nil {
		return nil, err
	}
	count := int64(len(users))
	return &mlsapi.GetBlockStatusOutput{
		ConvoID: string(convo.FirstGroup), HasConflicts: len(answer.Blocks) > 0, Blocks: blockViews(answer.Blocks),
		CheckedAt: datetime(answer.CheckedAt), MemberCount: &count,
	}, nil
}
