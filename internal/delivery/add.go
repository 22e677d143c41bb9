package delivery

import (
	"context"
	"errors"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// ErrStale is returned when the roster that was vetted for blocks is no longer the conversation's.
// The caller vets again and repeats.
var ErrStale = errors.New("delivery: the roster changed since it was vetted")

// AddRequest is a commit that adds users, or further devices of users, to a group.
type AddRequest struct {
	Key    mls.ConvoKey
	Sender mls.DID
	Commit *Bundle
	Addition
}

// Vetted is a roster whose users stand in no block with the newcomers: that of an epoch, of the
// group and of the commit that led there, since an epoch comes back when a commit is taken back.
type Vetted struct {
	generation mls.Generation
	epoch      mls.Epoch
	commit     mls.MessageID
}

func vettedAt(c *store.Convo) Vetted { return Vetted{c.Generation, c.Epoch, c.CommitID} }

// Vet looks at an addition before the conversation is locked: it verifies the commit's signatures,
// and checks for blocks between newcomers and members, which block sources answer over the network.
// It asks them nothing when the commit is for another epoch: Add refuses that. Users only come in
// by a commit, so the epoch tells whether the answer still holds.
func (s *Service) Vet(ctx context.Context, r AddRequest) (Vetted, error) {
	standing, err := s.store.RequireMember(ctx, r.Key, r.Sender)
	if err != nil {
		return Vetted{}, err
	}
	vetted := vettedAt(&standing.Convo)
	s.examineAt(ctx, &standing.Convo, r.Commit)
	if !r.Commit.Handshake.MadeFor(standing.Epoch) {
		return vetted, nil
	}
	roster, err := s.store.ListMembers(ctx, standing.ID)
	if err != nil {
		return Vetted{}, err
	}
	present := Users(roster)
	newcomers := without(r.Users, present)
	if len(newcomers)+len(present) > s.MaxMembers {
		return Vetted{}, mls.ErrTooManyMembers
	}
	if len(newcomers) == 0 {
		return vetted, nil
	}
	blocked, err := s.Blocks.AnyBetween(ctx, r.Sender, newcomers, present)
	switch {
	case err != nil:
		return Vetted{}, err
	case blocked:
		return Vetted{}, mls.ErrBlockedByMember
	}
	return vetted, nil
}

// Add accepts a commit that brings users, or further devices of users, into the group, and does
// everything that follows from it: roster, Welcome, key packages, fulfilled requests, requests for
// devices that are still missing. Errors: those of LockAsMember and of judge, ErrStale,
// mls.ErrInvalidWelcome, mls.ErrWelcomeMismatch, mls.ErrKeyPackageNotFound, mls.ErrAlreadyMember,
// mls.ErrTooManyInvitations.
func (s *Service) Add(ctx context.Context, tx *store.Tx, r AddRequest, v Vetted) (Stored, error) {
	standing, err := tx.LockAsMember(ctx, r.Key, r.Sender)
	if err != nil {
		return Stored{}, err
	}
	convo := &standing.Convo
	h, err := judge(ctx, tx, &standing, r.Commit, submission{r.Sender, r.at})
	if err != nil {
		return Stored{}, err
	}
	if err := h.adds(r.at); err != nil {
		return Stored{}, err
	}
	if v != vettedAt(convo) {
		return Stored{}, ErrStale
	}
	if err := r.fits(&h, convo.CipherSuite); err != nil {
		return Stored{}, err
	}
	used, err := r.resolve(ctx, tx, convo.ID)
	if err != nil {
		return Stored{}, err
	}
	newcomers, err := admissible(ctx, tx, convo.ID, r.Users, used)
	if err != nil {
		return Stored{}, err
	}
	by := inviter{user: r.Sender, list: "/didList", all: r.Users, at: r.at}
	invited, err := by.invite(ctx, tx, newcomers)
	if err != nil {
		return Stored{}, err
	}
	out, err := commit(ctx, tx, convo, h, used...)
	if err != nil {
		return Stored{}, err
	}
	if h.change == nil {
		// The commit that adds a device anew removes its old leaf.
		if err := tx.SettleDeviceDebts(ctx, convo.ID, owners(used), placeOf(convo, r.at)); err != nil {
			return Stored{}, err
		}
	}
	if err := enter(ctx, tx, entry{convo: convo, seq: out.CommitSeq, Addition: r.Addition, used: used, inviter: r.Sender, invited: invited}); err != nil {
		return Stored{}, err
	}
	return out, conclude(ctx, tx, convo, h, out)
}

// fits checks that the Welcomes are for those whom the commit is seen to add. Without a Welcome
// nobody could join. Errors: mls.ErrWelcomeMismatch, mls.ErrInvalidWelcome.
func (a *Addition) fits(h *handshake, suite mls.CipherSuite) error {
	if len(a.welcomes) == 0 {
		return mls.ErrWelcomeMismatch
	}
	return h.CheckWelcomes(a.welcomes, suite)
}

// admissible refuses users who are in the group already and have nothing to be added for: no open
// request, and no device that is not in it yet. It returns those who are not on the roster.
func admissible(ctx context.Context, tx *store.Tx, convo mls.ConvoID, users []mls.DID, used []store.KeyPackage) (newcomers []mls.DID, err error) {
	active, err := tx.FindActive(ctx, convo, users...)
	if err != nil || len(active) == 0 {
		return users, err
	}
	requests, err := tx.ListRequests(ctx, convo)
	if err != nil {
		return nil, err
	}
	for _, u := range users {
		present := slices.ContainsFunc(active, func(d store.ActiveDevice) bool { return d.User == u })
		asked := slices.ContainsFunc(requests, func(r store.Request) bool { return r.Device.User == u && r.Kind != store.RequestRemoval })
		brings := slices.ContainsFunc(used, func(k store.KeyPackage) bool {
			return k.Owner.User == u && !slices.ContainsFunc(active, func(d store.ActiveDevice) bool { return d.Device == k.Owner && !d.NeedsRejoin })
		})
		if present && !asked && !brings {
			return nil, mls.ErrAlreadyMember
		}
		if !present {
			newcomers = append(newcomers, u)
		}
	}
	return newcomers, nil
}
