package batch

import (
	"context"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// ClaimStore is what Claims needs of the store.
type ClaimStore interface {
	// ClaimKeyPackages hands out one package for each device of the owners. Errors
	// as store.Store.ClaimKeyPackages.
	ClaimKeyPackages(ctx context.Context, p store.ClaimParams) ([]store.KeyPackage, error)
}

// maxClaimOwners is for how many owners a statement claims, though always for
// those of one request.
const maxClaimOwners = 128

// Claims collects the claims of a process into statements for the owners of many
// of them; see queue. Claims for one owner never share a statement, which hands
// out one package for each device: the later one goes with another statement,
// and SKIP LOCKED keeps the two apart (I4).
//
// The zero value is not usable; see NewClaims.
type Claims struct {
	store ClaimStore
	queue queue[*claim]
}

// claim is a claim and what became of it.
type claim struct {
	params   store.ClaimParams
	packages []store.KeyPackage
	err      error
}

// NewClaims returns Claims over s. MaxMessages and MaxBytes do not apply to it. It
// starts nothing: goroutines live while there are claims to carry out.
func NewClaims(s ClaimStore, cfg Config) *Claims {
	c := &Claims{store: s}
	c.queue = queue[*claim]{Config: cfg.withDefaults(), begin: beginClaims, write: c.write}
	return c
}

// ClaimKeyPackages claims with those who claim at the same time. When ctx ends
// before the claim is part of a statement, nothing is handed out; when it ends
// later, packages may be gone that nobody has. Errors as store.Store.ClaimKeyPackages.
func (c *Claims) ClaimKeyPackages(ctx context.Context, p store.ClaimParams) ([]store.KeyPackage, error) {
	own := &claim{params: p, err: errBatchLost}
	if err := c.queue.do(ctx, own); err != nil {
		return nil, err
	}
	return own.packages, own.err
}

// Queued is how many claims wait for a statement.
func (c *Claims) Queued() int { return c.queue.length() }

// beginClaims makes a batch of claims that one statement can answer: without a
// choice of devices, for the same suite, and no owner twice.
func beginClaims() func(*claim) admission {
	var first *store.ClaimParams
	owners := map[mls.DID]struct{}{}
	return func(c *claim) admission {
		p := &c.params
		switch {
		case first == nil:
			first = p
		case len(first.Devices) > 0 || len(owners) >= maxClaimOwners:
			return full
		case len(p.Devices) > 0 || p.CipherSuite != first.CipherSuite || p.Margin != first.Margin || p.Low != first.Low ||
			len(owners)+len(p.Owners) > maxClaimOwners || slices.ContainsFunc(p.Owners, func(d mls.DID) bool { _, named := owners[d]; return named }):
			return leave
		}
		for _, d := range p.Owners {
			owners[d] = struct{}{}
		}
		return take
	}
}

// write carries claims out in one statement, at the time of the latest.
func (c *Claims) write(ctx context.Context, batch []*claim) {
	all := batch[0].params
	all.Owners, all.Scarce = nil, nil
	claimOf := map[mls.DID]*claim{}
	for _, own := range batch {
		all.Owners, all.Scarce = append(all.Owners, own.params.Owners...), append(all.Scarce, own.params.Scarce...)
		for _, d := range own.params.Owners {
			claimOf[d] = own
		}
		if own.params.Now.After(all.Now) {
			all.Now = own.params.Now
		}
	}
	packages, err := c.store.ClaimKeyPackages(ctx, all)
	for _, k := range packages {
		own := claimOf[k.Owner.User]
		own.packages = append(own.packages, k)
	}
	for _, own := range batch {
		own.err = err
	}
}
