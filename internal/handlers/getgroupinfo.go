package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// GetGroupInfo reads the GroupInfo by which a device joins the group of the present epoch.
func (h *Handlers) GetGroupInfo(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetGroupInfoParams) (*mlsapi.GetGroupInfoOutput, error) {
	key, err := mls.ParseConvoKey(params.ConvoID)
	if err != nil {
		return nil, err
	}
	found, err := h.Delivery.FindEntrance(ctx, key, caller.DID)
	if err != nil {
		return nil, err
	}
	return &mlsapi.GetGroupInfoOutput{GroupInfo: mls.EncodeText(found.GroupInfo), Epoch: int64(found.Epoch)}, nil
}
