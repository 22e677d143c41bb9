package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// GetKeyPackageStats counts the caller's own packages.
func (h *Handlers) GetKeyPackageStats(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetKeyPackageStatsParams) (*mlsapi.GetKeyPackageStatsOutput, error) {
	// The did format has no fragment, so there is no way to name one device here.
	if params.DID != nil && *params.DID != caller.DID {
		return nil, mls.ErrInvalidDID
	}
	var suite mls.CipherSuite
	if params.CipherSuite != nil {
		var err error
		if suite, err = mls.ParseCipherSuite(*params.CipherSuite); err != nil {
			return nil, mls.InvalidInput("/cipherSuite", "must be the name of a cipher suite")
		}
	}
	now := h.Clock.Now()
	stats, err := h.Store.CountKeyPackages(ctx, store.Device{User: caller.DID}, suite, now)
	if err != nil {
		return nil, err
	}
	return statsOfPackages(stats, int64(h.Config.KeyPackageLow), now), nil
}
