package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// memberResets is how often members who are no admins may reset a conversation.
const memberResets = 24 * time.Hour

// Reset begins a new group for a conversation.
type Reset struct {
	Key  mls.ConvoKey
	User mls.DID
	// Generation and Epoch are the conversation's as the user knows them.
	Generation mls.Generation
	Epoch      mls.Epoch
	// Next is the new group, by NewConvo; of it, the id and the creator are the conversation's.
	Next  store.NewConvo
	Group NewGroup
	// Addition welcomes devices of members; it names no users.
	Addition Addition
	// exempt are members whose key packages the user cannot claim.
	exempt []mls.DID
}

// GroupError is mls.ErrGroupReset with the group that the conversation has now.
type GroupError struct {
	cause error // mls.ErrGroupReset

	GroupID    mls.GroupID
	Generation mls.Generation
	Epoch      mls.Epoch
}

// Error names the group in a fixed form, since proxies drop everything else.
func (g *GroupError) Error() string {
	return fmt.Sprintf("%v; the conversation has the group %s now", g.cause, g.GroupID)
}

// Unwrap returns the domain error.
func (g *GroupError) Unwrap() error { return g.cause }

// TellGroup adds to an mls.ErrGroupReset which group the conversation has now. Any other outcome is
// returned as it is.
func (s *Service) TellGroup(ctx context.Context, key mls.ConvoKey, user mls.DID, outcome error) error {
	if !errors.Is(outcome, mls.ErrGroupReset) {
		return outcome
	}
	standing, err := s.store.RequireMember(ctx, key, user)
	if err != nil {
		return outcome // nothing can be added to what is known
	}
	return &GroupError{cause: mls.ErrGroupReset, GroupID: standing.GroupID, Generation: standing.Generation, Epoch: standing.Epoch}
}

// refuseFormer refuses what is framed for a group that the conversation had before.
func refuseFormer(ctx context.Context, tx *store.Tx, convo *store.Convo, framed mls.GroupID) error {
	if convo.Generation == 0 || framed == "" || framed == convo.GroupID {
		return nil
	}
	use, err := tx.FindGroup(ctx, framed)
	if err == nil && use != nil && use.ConvoID == convo.ID {
		return mls.ErrGroupReset
	}
	return err
}

// VetReset comes before the transaction of a reset. It verifies of the GroupInfo what can be
// verified without the database, for members only, and finds out which members' key packages the
// user cannot claim. Errors: those of RequireMember, mls.ErrGroupReset, mls.ErrEpochMismatch,
// mls.ErrInvalidInput, mls.ErrWelcomeMismatch, mls.ErrInvalidGroupInfo.
func (s *Service) VetReset(ctx context.Context, r *Reset) error {
	standing, err := s.store.RequireMember(ctx, r.Key, r.User)
	if err != nil {
		return err
	}
	if err := r.expects(&standing.Convo); err != nil {
		return s.TellGroup(ctx, r.Key, r.User, err)
	}
	if err := found(&r.Next, r.Group, &r.Addition); err != nil || standing.Admin {
		return err
	}
	roster, err := s.store.ListMembers(ctx, standing.ID)
	if err != nil {
		return err
	}
	r.exempt, err = s.Blocks.Blocking(ctx, r.User, Members(roster))
	return err
}

// expects compares the conversation with what the user knows of it.
func (r *Reset) expects(c *store.Convo) error {
	switch {
	case r.Generation < c.Generation:
		return mls.ErrGroupReset
	case r.Generation > c.Generation:
		return mls.InvalidInput("/expectedGeneration", "must be one that the conversation has had")
	case r.Epoch != c.Epoch:
		return mls.EpochMismatch(r.Epoch, c.Epoch)
	}
	return nil
}

// Reset begins the new group, with everything that follows from it: the roster stays, welcomed
// devices are in the group, and the others wait to be added. It returns the conversation's id.
// VetReset was called before. Errors: those of VetReset, mls.ErrNotAdmin,
// mls.ErrRateLimitExceeded, mls.ErrGroupReinitialized, mls.ErrGroupAlreadyExists,
// mls.ErrInvalidWelcome, mls.ErrKeyPackageNotFound, mls.ErrWelcomeMismatch.
func (s *Service) Reset(ctx context.Context, tx *store.Tx, r Reset) (mls.ConvoID, error) {
	standing, err := tx.LockAsMember(ctx, r.Key, r.User)
	if err != nil {
		return "", err
	}
	convo := &standing.Convo
	if err := r.expects(convo); err != nil {
		return "", err
	}
	if err := r.announced(ctx, tx, convo); err != nil {
		return "", err
	}
	roster, err := tx.ListMembers(ctx, convo.ID)
	if err != nil {
		return "", err
	}
	// Who is invited stays so, in the group or out of it.
	users := Members(roster)
	if err := r.mayReset(ctx, tx, &standing, roster); err != nil {
		return "", err
	}
	if err := r.Addition.welcomesFor(r.Next.CipherSuite); err != nil {
		return "", err
	}
	used, err := r.Addition.resolve(ctx, tx, convo.ID, Users(roster)...)
	if err != nil {
		return "", err
	}
	devices, err := tx.ListDevices(ctx, r.User)
	if err != nil {
		return "", err
	}
	begun, err := begin(&r.Next, r.Group, devices, used)
	if err != nil {
		return "", err
	}
	if !standing.Admin {
		if err := r.leavesOut(ctx, tx, without(users, r.exempt), begun.state.Leaves); err != nil {
			return "", err
		}
	}
	return convo.ID, r.goOn(ctx, tx, &standing, begun, used)
}

// announced refuses another group than the one that a ReInit commit has announced, unless nobody
// can begin that one.
func (r *Reset) announced(ctx context.Context, tx *store.Tx, c *store.Convo) error {
	n := c.Successor
	if n == nil || n.GroupID == r.Next.GroupID && n.Suite == r.Next.CipherSuite {
		return nil
	}
	if _, err := mls.ParseGroupID(string(n.GroupID)); !n.Suite.Known() || errors.Is(err, mls.ErrInvalidGroupID) {
		return nil
	}
	taken, err := tx.FindGroup(ctx, n.GroupID)
	if err != nil || taken != nil {
		return err
	}
	return mls.ErrGroupReinitialized
}

// others is whether users of a roster beside the caller have a device: those whose place is kept
// can do nothing about the group.
func (r *Reset) others(roster []store.Member) bool {
	return slices.ContainsFunc(roster, func(m store.Member) bool { return !m.Vacant && m.InvitedBy == "" && m.User != r.User })
}

// mayReset says whether a user may reset the conversation now: an admin at any time, any other
// member where the group cannot go on, once in a while over all of them.
func (r *Reset) mayReset(ctx context.Context, tx *store.Tx, s *store.Standing, roster []store.Member) error {
	if s.Admin {
		return nil
	}
	if s.Successor == nil && len(Members(roster)) > 1 && r.Next.CipherSuite != s.CipherSuite {
		return mls.ErrNotAdmin // of another one the others may have no key packages
	}
	if s.Successor == nil && r.others(roster) {
		broken, err := beyondRepair(ctx, tx, &s.Convo, r.Next.At)
		switch {
		case err != nil:
			return err
		case !broken:
			return mls.ErrNotAdmin
		}
	}
	last, err := tx.LastMemberReset(ctx, s.ID)
	if err != nil {
		return err
	}
	if wait := memberResets - r.Next.At.Sub(last); wait > 0 {
		return mls.RateLimited(wait)
	}
	return nil
}

// leavesOut refuses a new group without a device that could be in it: its user has a key package to
// claim. The error is mls.ErrWelcomeMismatch.
func (r *Reset) leavesOut(ctx context.Context, tx *store.Tx, users []mls.DID, leaves []store.Leaf) error {
	devices, err := tx.ListReachableDevices(ctx, users, r.Next.CipherSuite, r.Next.At.Add(claimMargin))
	if err != nil {
		return err
	}
	for _, d := range devices {
		if !slices.ContainsFunc(leaves, func(l store.Leaf) bool { return l.Device == d }) {
			return mls.ErrWelcomeMismatch
		}
	}
	return nil
}

// goOn writes the new group down.
func (r *Reset) goOn(ctx context.Context, tx *store.Tx, s *store.Standing, begun beginning, used []store.KeyPackage) error {
	convo, at := &s.Convo, r.Next.At
	if err := tx.ResetConvo(ctx, convo, store.NextGroup{
		GroupID: r.Next.GroupID, CipherSuite: r.Next.CipherSuite, Epoch: r.Next.Epoch, User: r.User, Admin: s.Admin, At: at,
	}); err != nil {
		return err
	}
	if err := tx.AppendEvents(ctx, convo.ID, at, store.NewEvent{
		Kind: store.EventGroupReset, Audience: store.ToMembers, User: r.User, Epoch: &convo.Epoch,
	}); err != nil {
		return err
	}
	place := placeOf(convo, at)
	if err := tx.UpsertMembers(ctx, convo.ID, []store.NewMember{begun.creator}, place); err != nil {
		return err
	}
	own := store.Device{User: r.User, ID: begun.creator.Device}
	if _, err := tx.FulfilRequests(ctx, convo.ID, []store.Device{own}, place); err != nil {
		return err
	}
	if err := enter(ctx, tx, entry{convo: convo, seq: place.Seq, Addition: r.Addition, used: used}); err != nil {
		return err
	}
	if err := tx.PutGroupState(ctx, convo, *begun.state); err != nil {
		return err
	}
	if err := tx.SetLeaves(ctx, convo.ID, begun.state.Leaves); err != nil {
		return err
	}
	if _, err := giveKey(ctx, tx, convo, r.User, r.Group.SendKey); err != nil {
		return err
	}
	return requestLeafless(ctx, tx, convo.ID, at)
}

// requestLeafless asks the members to add the devices on the roster that are not in the group.
func requestLeafless(ctx context.Context, tx *store.Tx, convo mls.ConvoID, at time.Time) error {
	roster, err := tx.ListMembers(ctx, convo)
	if err != nil {
		return err
	}
	var events []store.NewEvent
	for i := range roster {
		if roster[i].LeafIndex != nil || roster[i].Vacant {
			continue
		}
		device := store.Device{User: roster[i].User, ID: roster[i].Device}
		if err := tx.SetNeedsRejoin(ctx, convo, device, true); err != nil {
			return err
		}
		if roster[i].InvitedBy != "" {
			continue // it asks when it accepts
		}
		request, existing, err := tx.OpenRequest(ctx, convo, store.NewRequest{Device: device, Kind: store.RequestDevice, At: at})
		if err != nil {
			return err
		}
		if !existing {
			events = append(events, requestEvent(request))
		}
	}
	return tx.AppendEvents(ctx, convo, at, events...)
}
