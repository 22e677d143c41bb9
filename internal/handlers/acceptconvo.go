package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// AcceptConvo makes the invited caller a member.
func (h *Handlers) AcceptConvo(ctx context.Context, caller lexrt.Caller, in *mlsapi.AcceptConvoInput) (*mlsapi.AcceptConvoOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	if err := h.Delivery.Accept(ctx, key, caller.DID, h.now()); err != nil {
		return nil, err
	}
	return &mlsapi.AcceptConvoOutput{Accepted: true}, nil
}
