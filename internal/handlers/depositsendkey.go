package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// DepositSendKey keeps a key for sealed sends in the present epoch.
func (h *Handlers) DepositSendKey(ctx context.Context, caller lexrt.Caller, in *mlsapi.DepositSendKeyInput) (*mlsapi.DepositSendKeyOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	accepted, err := h.Delivery.DepositSendKey(ctx, delivery.SendKeyDeposit{
		Key: key, User: caller.DID, Generation: (*mls.Generation)(in.Generation), Epoch: mls.Epoch(in.Epoch), Commit: mls.MessageID(orEmpty(in.CommitID)),
		SendKey: mls.ParseSendKey(in.SendKey),
	})
	return &mlsapi.DepositSendKeyOutput{Accepted: accepted}, err
}
