package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// ConfirmWelcome closes a device's Welcome, or asks the members to add the device anew.
func (h *Handlers) ConfirmWelcome(ctx context.Context, caller lexrt.Caller, in *mlsapi.ConfirmWelcomeInput) (*mlsapi.ConfirmWelcomeOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	confirmed, err := h.Delivery.ConfirmWelcome(ctx, delivery.Confirmation{
		Key: key, User: caller.DID, Device: (*mls.DeviceID)(in.DeviceID), Success: in.Success, Details: orEmpty(in.ErrorDetails), At: h.now(),
	})
	if err != nil {
		return nil, err
	}
	if confirmed {
		h.saw(caller, in.DeviceID)
	}
	return &mlsapi.ConfirmWelcomeOutput{Confirmed: confirmed}, nil
}
