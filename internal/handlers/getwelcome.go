package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// GetWelcome reads the newest Welcome that waits for the device. It changes nothing.
func (h *Handlers) GetWelcome(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetWelcomeParams) (*mlsapi.GetWelcomeOutput, error) {
	key, err := mls.ParseConvoKey(params.ConvoID)
	if err != nil {
		return nil, err
	}
	convo, err := h.Store.RequireOnRoster(ctx, key, caller.DID)
	if err != nil {
		return nil, err
	}
	welcome, err := h.Store.FindWelcome(ctx, convo.ID, caller.DID, (*mls.DeviceID)(params.DeviceID), h.Clock.Now())
	if err != nil {
		return nil, err
	}
	h.saw(caller, params.DeviceID)
	return &mlsapi.GetWelcomeOutput{ConvoID: string(convo.FirstGroup), Welcome: mls.EncodeText(welcome.Bytes)}, nil
}
