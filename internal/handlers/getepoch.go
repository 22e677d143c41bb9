package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// GetEpoch reads the stored epoch.
func (h *Handlers) GetEpoch(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetEpochParams) (*mlsapi.GetEpochOutput, error) {
	key, err := mls.ParseConvoKey(params.ConvoID)
	if err != nil {
		return nil, err
	}
	convo, err := h.Store.RequireOnRoster(ctx, key, caller.DID)
	if err != nil {
		return nil, err
	}
	return &mlsapi.GetEpochOutput{
		ConvoID: string(convo.FirstGroup), CurrentEpoch: int64(convo.Epoch), CommitID: optional(convo.CommitID), Generation: (*int64)(&convo.Generation),
	}, nil
}
