package delivery

import (
	"context"
	"errors"
	"slices"
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
// much, from one of them or altogether.
func (s *Service) ClaimKeyPackages(ctx context.Context, c Claim) ([]store.KeyPackage, error) {
	cost, err := s.costOf(ctx, &c)
	if err != nil {
		return nil, err
	}
	if err := s.takeClaims(ctx, &c, cost); err != nil {
		return nil, err
	}
	blocking, err := s.Blocks.Blocking(ctx, c.Caller, c.Owners)
	if err != nil {
		return nil, err
	}
	owners := s.served(without(c.Owners, blocking))
	scarce, err := s.scarce(ctx, c.Caller, owners, cost)
	if err != nil {
		return nil, err
	}
	suite := c.Suite
	if suite == 0 {
		// A group has one suite: packages of several would be spent for nothing.
		if suite, err = s.store.PickCipherSuite(ctx, owners, c.Devices, c.Now.Add(claimMargin)); err != nil || suite == 0 {
			return nil, err
		}
	}
	return s.Claimer.ClaimKeyPackages(ctx, store.ClaimParams{
		Owners: owners, Scarce: scarce, Devices: c.Devices, CipherSuite: suite, Now: c.Now, Margin: claimMargin, Low: s.KeyPackageLow,
	})
}

// served is the users without those whose accounts are refused.
func (s *Service) served(users []mls.DID) []mls.DID {
	if s.Refused == nil {
		return users
	}
	return slices.DeleteFunc(users, s.Refused)
}

// costOf is how many packages a claim may take of each owner, at least one.
func (s *Service) costOf(ctx context.Context, c *Claim) (map[mls.DID]int, error) {
	devices, err := s.store.ListDevices(ctx, c.Owners...)
	if err != nil {
		return nil, err
	}
	cost := make(map[mls.DID]int, len(c.Owners))
	for _, d := range devices {
		if len(c.Devices) == 0 || slices.Contains(c.Devices, d.ID) {
			cost[d.User]++
		}
	}
	for _, did := range c.Owners {
		cost[did] = max(cost[did], 1)
	}
	return cost, nil
}

// takeClaims charges the caller for what it asks, by packages: of each owner, and altogether. A
// claim of more than a bucket holds takes all of it.
func (s *Service) takeClaims(ctx context.Context, c *Claim, cost map[mls.DID]int) error {
	total := 0
	for did, n := range cost {
		if err := s.takeAtMost(ctx, "claim", string(c.Caller)+" "+string(did), n); err != nil {
			return err
		}
		total += n
	}
	return s.takeAtMost(ctx, "claimedPackages", string(c.Caller), total)
}

// strangerPrice is what a package costs of the bucket that all strangers have together for one
// user: with a token a minute it makes twenty an hour.
const strangerPrice = 3

// scarce are the owners of whom the caller gets last-resort packages only: strangers have taken
// what they may of them, so that nobody who knows them is left without.
func (s *Service) scarce(ctx context.Context, caller mls.DID, owners []mls.DID, cost map[mls.DID]int) ([]mls.DID, error) {
	known, err := s.store.ListOpenTo(ctx, caller, owners)
	if err != nil {
		return nil, err
	}
	var scarce []mls.DID
	for _, did := range owners {
		if did != caller && !slices.Contains(known, did) && s.take(ctx, "strangerClaims", string(did), cost[did]*strangerPrice) != nil {
			scarce = append(scarce, did)
		}
	}
	return scarce, nil
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
	case s.Refused != nil && s.Refused(k.Owner.User):
		return nil, nil
	}
	return []store.KeyPackage{k}, nil
}
