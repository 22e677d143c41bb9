package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// DeleteDevice deletes a device of the caller with its key packages.
func (h *Handlers) DeleteDevice(ctx context.Context, caller lexrt.Caller, in *mlsapi.DeleteDeviceInput) (*mlsapi.DeleteDeviceOutput, error) {
	packages, err := h.Delivery.DeleteDevice(ctx, delivery.Deletion{
		Device: store.Device{User: caller.DID, ID: mls.DeviceID(in.DeviceID)}, Proof: in.Proof, At: h.now(),
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.DeleteDeviceOutput{Deleted: true, KeyPackagesDeleted: int64(packages)}, nil
}
