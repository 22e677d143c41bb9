package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// RequestRejoin asks the members to add a device anew that lost its state.
func (h *Handlers) RequestRejoin(ctx context.Context, caller lexrt.Caller, in *mlsapi.RequestRejoinInput) (*mlsapi.RequestRejoinOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	r, err := h.Delivery.RequestRejoin(ctx, delivery.Rejoin{
		Key: key, User: caller.DID, Device: in.DeviceID, KeyPackage: in.KeyPackage, Reason: (*string)(in.Reason), At: h.now(),
	})
	if err != nil {
		return nil, err
	}
	h.saw(caller, in.DeviceID)
	return &mlsapi.RequestRejoinOutput{RequestID: string(r.ID), Pending: true, ApprovedAt: datetimePtr(r.ApprovedAt)}, nil
}
