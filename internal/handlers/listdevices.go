package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// ListDevices lists the caller's devices with what can be claimed of each.
func (h *Handlers) ListDevices(ctx context.Context, caller lexrt.Caller) (*mlsapi.ListDevicesOutput, error) {
	devices, err := h.Store.ListDevices(ctx, caller.DID)
	if err != nil {
		return nil, err
	}
	counts, err := h.Store.CountDevicePackages(ctx, caller.DID, h.Clock.Now())
	if err != nil {
		return nil, err
	}
	out := &mlsapi.ListDevicesOutput{Devices: make([]mlsapi.ListDevicesDeviceInfo, len(devices))}
	for i, d := range devices {
		count := counts[d.ID]
		out.Devices[i] = mlsapi.ListDevicesDeviceInfo{
			DeviceID: string(d.ID), DeviceName: d.Name, CredentialDID: lexrt.URI(d.MLSDID), DeviceUUID: optional(d.UUID),
			RegisteredAt: datetime(d.RegisteredAt), LastSeenAt: datetime(d.SeenOn), KeyPackageCount: count.Available, LastResort: &count.LastResort,
		}
	}
	return out, nil
}
