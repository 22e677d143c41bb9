package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// CheckBlocks looks up the blocks between any two of the given users.
func (h *Handlers) CheckBlocks(ctx context.Context, _ lexrt.Caller, params *mlsapi.CheckBlocksParams) (*mlsapi.CheckBlocksOutput, error) {
	answer, err := h.Blocks.Between(ctx, params.DIDs)
	if err != nil {
		return nil, err
	}
	return &mlsapi.CheckBlocksOutput{Blocks: blockViews(answer.Blocks), CheckedAt: datetime(answer.CheckedAt)}, nil
}
