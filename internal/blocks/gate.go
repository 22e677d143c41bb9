package blocks

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"mls-server/internal/mls"
)

// Gate is a Service that takes those who do not want to hear from the caller for users who block
// it: nobody learns which of the two it is, and both are found out at the same time. Users who
// share an accepted conversation with the caller have let it in already.
type Gate struct {
	*Service

	declarations *Declarations
}

// NewGate returns a gate. Without declarations it is the service.
func NewGate(s *Service, d *Declarations) *Gate { return &Gate{s, d} }

// AnyBetween is Service.AnyBetween, and true when one of the newcomers does not want to hear from
// the caller. Who cannot be asked for a reason that the caller can bring about is never let in by
// that: the errors are mls.ErrRateLimitExceeded and mls.ErrBlockSourceUnavailable.
func (g *Gate) AnyBetween(ctx context.Context, caller mls.DID, newcomers, present []mls.DID) (bool, error) {
	var blocked, unwilling bool
	var blockErr, consentErr error
	g.together(func() {
		blocked, blockErr = g.Service.AnyBetween(ctx, caller, newcomers, present)
	}, func() {
		unwilling, consentErr = g.anyUnwilling(ctx, caller, newcomers)
	})
	switch {
	case blocked || unwilling:
		return true, nil
	case blockErr != nil:
		return false, blockErr
	}
	return false, consentErr
}

// Blocking is Service.Blocking with those who do not want to hear from the caller. What cannot be
// found out keeps nobody out, since an addition is checked again by AnyBetween, but for a caller
// who has had too many users looked up: mls.ErrRateLimitExceeded.
func (g *Gate) Blocking(ctx context.Context, caller mls.DID, dids []mls.DID) ([]mls.DID, error) {
	var blocking []mls.DID
	var refusal refusal
	var blockErr, consentErr error
	g.together(func() {
		blocking, blockErr = g.Service.Blocking(ctx, caller, dids)
	}, func() {
		refusal, consentErr = g.refusal(ctx, caller, dids, false)
	})
	switch {
	case blockErr != nil:
		return nil, blockErr
	case consentErr != nil:
		return nil, consentErr
	case refusal.spent:
		return nil, mls.RateLimited(spentFor)
	}
	out := mls.UniqueDIDs(append(blocking, refusal.unwilling...))
	slices.Sort(out)
	return out, nil
}

func (g *Gate) anyUnwilling(ctx context.Context, caller mls.DID, newcomers []mls.DID) (bool, error) {
	r, err := g.refusal(ctx, caller, newcomers, true)
	switch {
	case err != nil:
		return false, err
	case len(r.unwilling) > 0:
		return true, nil
	case r.spent:
		return false, mls.RateLimited(spentFor)
	case r.late, r.away && g.FailClosed:
		return false, mls.ErrBlockSourceUnavailable
	}
	return false, nil
}

// refusal asks those of the users whom the caller does not know.
func (g *Gate) refusal(ctx context.Context, caller mls.DID, dids []mls.DID, admits bool) (refusal, error) {
	if g.declarations == nil {
		return refusal{}, nil
	}
	known, err := g.Cache.ListAcquaintances(ctx, caller, dids)
	if err != nil {
		return refusal{}, err
	}
	strangers := slices.DeleteFunc(mls.UniqueDIDs(dids), func(d mls.DID) bool { return d == caller || slices.Contains(known, d) })
	return g.declarations.ask(ctx, caller, strangers, admits)
}

// together runs both at the same time, and waits for both: how long it takes says nothing about
// which of them has an answer.
func (*Gate) together(a, b func()) {
	var g errgroup.Group
	g.Go(func() error { a(); return nil })
	g.Go(func() error { b(); return nil })
	_ = g.Wait() // the functions keep their errors
}
