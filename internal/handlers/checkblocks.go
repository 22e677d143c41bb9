package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// CheckBlocks looks up the blocks between any two of the given users.
func (h *Handlers) CheckBlocks(ctx context.Context, caller lexrt.Caller, params *mlsapi.CheckBlocksParams) (*mlsapi.CheckBlocksOutput, error) {
	if err := h.Delivery.TakeBlockPairs(ctx, caller.DID, len(params.DIDs)); err != nil {
		return nil, err
	}
	answer, err := h.Blocks.Between(ctx, caller.DID, params.DIDs)
	if err != nil {
		return nil, err
	}
	return &mlsapi.CheckBlocksOutput{Blocks: blockViews(answer.Blocks), CheckedAt: datetime(answer.CheckedAt)}, nil
}
