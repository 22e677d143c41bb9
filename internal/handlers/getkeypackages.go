package handlers

import (
	"context"
	"slices"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// GetKeyPackages claims one package for each active device of the users, or reads the one that a
// rejoin request has brought. Those who have none and those who block the caller look alike.
func (h *Handlers) GetKeyPackages(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetKeyPackagesParams) (*mlsapi.GetKeyPackagesOutput, error) {
	claim := delivery.Claim{Caller: caller.DID, Owners: params.DIDs, Room: maxAnswer, Size: sizeOfPackage, Now: h.Clock.Now()}
	for _, id := range params.DeviceIDs {
		claim.Devices = append(claim.Devices, mls.DeviceID(id))
	}
	var claimed delivery.Claimed
	var err error
	if params.CipherSuite != nil {
		claim.Suite, err = mls.ParseCipherSuite(string(*params.CipherSuite))
	}
	switch {
	case params.RequestID != nil:
		claimed.Packages, err = h.Delivery.FindReserved(ctx, store.RequestID(*params.RequestID), caller.DID)
	case err != nil:
		err = nil // nobody has packages of a suite that does not exist
	default:
		claimed, err = h.Delivery.ClaimKeyPackages(ctx, claim)
	}
	if err != nil {
		return nil, err
	}
	packages := claimed.Packages
	out := &mlsapi.GetKeyPackagesOutput{KeyPackages: make([]mlsapi.DefsKeyPackageRef, len(packages)), Remaining: claimed.Remaining}
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
