package delivery

import (
	"cmp"
	"context"
	"errors"
	"maps"
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
	// Room is how much of Size the packages may have together, unless those of one owner have more;
	// 0 means as many as there are.
	Room int
	// Size is what a package takes of Room.
	Size func(*store.KeyPackage) int
	Now  time.Time
}

// Claimed is what a claim brought.
type Claimed struct {
	Packages []store.KeyPackage
	// Remaining are owners of whom nothing was claimed since it would have been too much at once.
	Remaining []mls.DID
}

// ClaimKeyPackages hands out one package for each device. Owners who have none, those who block the
// caller and those who do not want to hear from it look alike. Strangers are not told which device
// a package is of. The error is mls.ErrRateLimitExceeded when the caller has claimed too much, from
// one of them or altogether.
func (s *Service) ClaimKeyPackages(ctx context.Context, c Claim) (Claimed, error) {
	packages, err := s.claim(ctx, c)
	if err != nil {
		return Claimed{}, err
	}
	if c.Room == 0 {
		return Claimed{Packages: packages}, nil
	}
	claimed, rest := fit(packages, &c)
	if len(rest) > 0 {
		err = s.store.UnclaimKeyPackages(ctx, rest)
	}
	return claimed, err
}

// fit divides packages into those of the owners that have room together, in the order in which they
// were asked for, and the rest. Those of the first owner who has any always fit.
func fit(packages []store.KeyPackage, c *Claim) (claimed Claimed, rest []store.KeyPackage) {
	size := map[mls.DID]int{}
	for i := range packages {
		size[packages[i].Owner.User] += c.Size(&packages[i])
	}
	total, full := 0, map[mls.DID]bool{}
	for _, owner := range mls.UniqueDIDs(c.Owners) {
		switch n := size[owner]; {
		case n > 0 && total > 0 && n > c.Room-total:
			full[owner] = true
			claimed.Remaining = append(claimed.Remaining, owner)
		default:
			total += n
		}
	}
	for _, k := range packages {
		if full[k.Owner.User] {
			rest = append(rest, k)
		} else {
			claimed.Packages = append(claimed.Packages, k)
		}
	}
	return claimed, rest
}

func (s *Service) claim(ctx context.Context, c Claim) ([]store.KeyPackage, error) {
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
	strangers, err := s.strangers(ctx, c.Caller, owners)
	if err != nil {
		return nil, err
	}
	suite, scarce := c.Suite, []mls.DID(nil)
	if suite == 0 || len(strangers) > 0 {
		if suite, scarce, err = s.ration(ctx, &c, owners, strangers); err != nil || suite == 0 {
			return nil, err
		}
	}
	packages, err := s.Claimer.ClaimKeyPackages(ctx, store.ClaimParams{
		Owners: owners, Scarce: scarce, Devices: c.Devices, CipherSuite: suite, Now: c.Now, Margin: claimMargin, Low: s.KeyPackageLow,
	})
	for i := range packages {
		if slices.Contains(strangers, packages[i].Owner.User) {
			packages[i].Owner.ID = ""
		}
	}
	return packages, err
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
// claim of more than a bucket holds takes all of it. The bucket that has least to spare comes
// first, so that one which refuses costs the caller nothing of the others.
func (s *Service) takeClaims(ctx context.Context, c *Claim, cost map[mls.DID]int) error {
	type charge struct {
		class, subject string
		packages, left int
	}
	charges := make([]charge, 0, len(cost)+1)
	add := func(class, subject string, packages int) {
		bucket := s.Limits.Peek(class, subject)
		charges = append(charges, charge{class, subject, packages, bucket.Remaining - min(packages, bucket.Limit)})
	}
	total := 0
	for did, n := range cost {
		add("claim", string(c.Caller)+" "+string(did), n)
		total += n
	}
	add("claimedPackages", string(c.Caller), total)
	slices.SortFunc(charges, func(a, b charge) int { return cmp.Compare(a.left, b.left) })
	for _, k := range charges {
		if err := s.takeAtMost(ctx, k.class, k.subject, k.packages); err != nil {
			return err
		}
	}
	return nil
}

// strangerPrice is what a package costs of the bucket that all strangers have together for one
// user: with a token a minute it makes twenty an hour.
const strangerPrice = 3

// strangers are the owners to whom the caller is one.
func (s *Service) strangers(ctx context.Context, caller mls.DID, owners []mls.DID) ([]mls.DID, error) {
	known, err := s.store.ListAcquaintances(ctx, caller, owners)
	return without(owners, append(known, caller)), err
}

// ration says of which suite the caller gets packages, 0 for none, and of which strangers it gets
// last-resort packages only: strangers have taken what they may of them, so that nobody who knows
// them is left without. What goes out is paid for, and nothing else.
func (s *Service) ration(ctx context.Context, c *Claim, owners, strangers []mls.DID) (suite mls.CipherSuite, scarce []mls.DID, err error) {
	claimable, err := s.store.CountClaimable(ctx, owners, c.Devices, c.Suite, c.Now.Add(claimMargin))
	if err != nil {
		return 0, nil, err
	}
	paid, drained := map[mls.DID]bool{}, map[mls.DID]bool{}
	short := func(k store.Claimable) bool {
		bucket := s.Limits.Peek("strangerClaims", string(k.Owner))
		return drained[k.Owner] || slices.Contains(strangers, k.Owner) && !paid[k.Owner] && bucket.Remaining < min(k.Once*strangerPrice, bucket.Limit)
	}
	// A bucket that other servers have drained is known when it refuses. Then another suite may
	// serve better; what was paid for the first one is not asked for again.
	for again := true; again; {
		again = false
		if suite = c.Suite; suite == 0 {
			suite = pickSuite(claimable, short)
		}
		for _, k := range claimable {
			if k.Suite != suite || k.Once == 0 || paid[k.Owner] || drained[k.Owner] || !slices.Contains(strangers, k.Owner) {
				continue
			}
			if s.takeAtMost(ctx, "strangerClaims", string(k.Owner), k.Once*strangerPrice) == nil {
				paid[k.Owner] = true
				continue
			}
			drained[k.Owner], again = true, c.Suite == 0
		}
	}
	return suite, slices.Sorted(maps.Keys(drained)), nil
}

// pickSuite is the suite of which most of the asked users can be had, by most of their devices, the
// smaller number first; 0 for none. A group has one suite: packages of several would be spent for
// nothing, and who is left without one cannot be added, however many devices others have. Of what
// is short the last resort counts alone.
func pickSuite(claimable []store.Claimable, short func(store.Claimable) bool) mls.CipherSuite {
	type reach struct{ users, devices int }
	of := map[mls.CipherSuite]reach{}
	for _, k := range claimable {
		n := k.Devices
		if short(k) {
			n = k.LastResort
		}
		if n > 0 {
			of[k.Suite] = reach{of[k.Suite].users + 1, of[k.Suite].devices + n}
		}
	}
	var best mls.CipherSuite
	for _, suite := range mls.CipherSuites() {
		if a, b := of[suite], of[best]; a.users > b.users || a.users == b.users && a.devices > b.devices {
			best = suite
		}
	}
	return best
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
