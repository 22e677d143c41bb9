package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// UpdateGroupInfo deposits a GroupInfo of the present epoch.
func (h *Handlers) UpdateGroupInfo(ctx context.Context, caller lexrt.Caller, in *mlsapi.UpdateGroupInfoInput) (*mlsapi.UpdateGroupInfoOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	updated, err := h.Delivery.DepositGroupInfo(ctx, delivery.GroupDeposit{
		Key: key, User: caller.DID, Epoch: mls.Epoch(in.Epoch), Info: mls.ParseDeposit(&in.GroupInfo), At: h.now(),
	})
	return &mlsapi.UpdateGroupInfoOutput{Updated: updated}, err
}
