package handlers

import (
	"context"
	"fmt"
	"time"

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
	out := &mlsapi.GetKeyPackageStatsOutput{Threshold: int64(h.Config.KeyPackageLow)}
	var first time.Time
	for _, s := range stats {
		out.Available += s.Available
		out.ByCipherSuite = append(out.ByCipherSuite, mlsapi.GetKeyPackageStatsCipherSuiteStats{
			CipherSuite: s.CipherSuite.String(), Available: s.Available, Consumed: &s.Consumed,
		})
		if !s.FirstExpiry.IsZero() && (first.IsZero() || s.FirstExpiry.Before(first)) {
			first = s.FirstExpiry
		}
	}
	out.NeedsReplenish = out.Available < out.Threshold
	if !first.IsZero() {
		hours := int(max(first.Sub(now), 0).Hours())
		text := fmt.Sprintf("%dd %dh", hours/24, hours%24)
		out.OldestExpiresIn = &text
	}
	return out, nil
}
