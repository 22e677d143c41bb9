package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// claimMargin is how long a package that is handed out stays valid at least.
const claimMargin = 10 * time.Minute

// Claim asks for a key package of each active device of users.
type Claim struct {
	Caller mls.DID
	Owners []mls.DID
	// Devices restricts the claim; empty: every device of the owners.
	Devices []mls.DeviceID
	// Suite is the suite asked for, 0 for any.
	Suite mls.CipherSuite
	Now   time.Time
}

// ClaimKeyPackages hands out one package for each device. Owners who have none and those who block
// the caller look alike. The error is mls.ErrRateLimitExceeded when the caller has claimed too
// often from one of them.
func (s *Service) ClaimKeyPackages(ctx context.Context, c Claim) ([]store.KeyPackage, error) {
	for _, did := range c.Owners {
		if err := s.take(ctx, "claim", string(c.Caller)+" "+string(did), 1); err != nil {
			return nil, err
		}
	}
	blocking, err := s.Blocks.Blocking(ctx, c.Caller, c.Owners)
	if err != nil {
		return nil, err
	}
	return s.Claimer.ClaimKeyPackages(ctx, store.ClaimParams{
		Owners: without(c.Owners, blocking), Devices: c.Devices, CipherSuite: c.Suite, Now: c.Now, Margin: claimMargin, Low: s.KeyPackageLow,
	})
}

// FindReserved is the package that a rejoin request has brought along, for members of its
// conversation; nothing for everybody else.
func (s *Service) FindReserved(ctx context.Context, request store.RequestID, caller mls.DID) ([]store.KeyPackage, error) {
	k, err := s.store.FindReservedKeyPackage(ctx, request, caller)
	switch {
	case errors.Is(err, mls.ErrKeyPackageNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []store.KeyPackage{k}, nil
}
