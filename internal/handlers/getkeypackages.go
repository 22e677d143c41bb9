package handlers

import (
	"context"
	"errors"
	"slices"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// claimMargin is how long a package that is handed out stays valid at least.
const claimMargin = 10 * time.Minute

// GetKeyPackages claims one package for each active device of the users. Those
// who have none and those who block the caller look alike.
func (h *Handlers) GetKeyPackages(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetKeyPackagesParams) (*mlsapi.GetKeyPackagesOutput, error) {
	var packages []store.KeyPackage
	var err error
	if params.RequestID != nil {
		packages, err = h.reserved(ctx, caller.DID, store.RequestID(*params.RequestID))
	} else {
		packages, err = h.claim(ctx, caller.DID, params)
	}
	if err != nil {
		return nil, err
	}
	out := &mlsapi.GetKeyPackagesOutput{KeyPackages: make([]mlsapi.DefsKeyPackageRef, len(packages))}
	for i := range packages {
		out.KeyPackages[i] = keyPackageView(&packages[i])
	}
	for _, did := range params.DIDs {
		if !slices.ContainsFunc(packages, func(k store.KeyPackage) bool { return k.Owner.User == did }) {
			out.Missing = append(out.Missing, did)
		}
	}
	return out, nil
}

// reserved is the package that a rejoin request has brought along.
func (h *Handlers) reserved(ctx context.Context, caller mls.DID, id store.RequestID) ([]store.KeyPackage, error) {
	k, err := h.Store.FindReservedKeyPackage(ctx, id, caller)
	switch {
	case errors.Is(err, mls.ErrKeyPackageNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []store.KeyPackage{k}, nil
}

func (h *Handlers) claim(ctx context.Context, caller mls.DID, params *mlsapi.GetKeyPackagesParams) ([]store.KeyPackage, error) {
	now := h.Clock.Now()
	claim := store.ClaimParams{Owners: params.DIDs, Now: now, Margin: claimMargin, Low: h.Config.KeyPackageLow}
	for _, id := range params.DeviceIDs {
		claim.Devices = append(claim.Devices, mls.DeviceID(id))
	}
	if params.CipherSuite != nil {
		suite, err := mls.ParseCipherSuite(string(*params.CipherSuite))
		if err != nil {
			return nil, nil //nolint:nilerr // nobody has packages of a suite that does not exist
		}
		claim.CipherSuite = suite
	}
	for _, did := range params.DIDs {
		if err := h.take(ctx, "claim", string(caller)+" "+string(did), 1); err != nil {
			return nil, err
		}
	}
	blocking, err := h.Blocks.Blocking(ctx, caller, params.DIDs)
	if err != nil && !errors.Is(err, mls.ErrBlockSourceUnavailable) {
		return nil, err
	}
	claim.Owners = slices.DeleteFunc(slices.Clone(claim.Owners), func(d mls.DID) bool { return slices.Contains(blocking, d) })
	return h.Claimer.ClaimKeyPackages(ctx, claim)
}
