package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// SyncKeyPackages withdraws the key packages that a device has no keys for.
func (h *Handlers) SyncKeyPackages(ctx context.Context, caller lexrt.Caller, in *mlsapi.SyncKeyPackagesInput) (*mlsapi.SyncKeyPackagesOutput, error) {
	synced, err := h.Delivery.SyncKeyPackages(ctx, delivery.Sync{
		Device: store.Device{User: caller.DID, ID: mls.DeviceID(in.DeviceID)}, Hashes: in.LocalHashes, At: h.Clock.Now(),
	})
	if err != nil {
		return nil, err
	}
	h.saw(caller, &in.DeviceID)
	out := &mlsapi.SyncKeyPackagesOutput{
		ServerHashes: synced.Found, OrphanedCount: int64(len(synced.Orphans)), OrphanedHashes: synced.Orphans,
		DeletedCount: int64(synced.Deleted), RemainingAvailable: new(int64(synced.Remaining)), DeviceID: in.DeviceID,
	}
	if out.ServerHashes == nil {
		out.ServerHashes = []string{}
	}
	return out, nil
}
