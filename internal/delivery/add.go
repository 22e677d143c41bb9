package delivery

import (
	"context"
	"errors"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// ErrStale is returned when the roster that was vetted for blocks is no longer
// the conversation's. The caller vets again and repeats.
var ErrStale = errors.New("delivery: the roster changed since it was vetted")

// Vetted is a roster whose users stand in no block with the newcomers.
type Vetted struct{ epoch mls.Epoch }

// Vet checks for blocks between newcomers and the members of a conversation,
// before the conversation is locked: block sources answer over the network.
// Users only come in by a commit, so the epoch tells whether the answer still holds.
func (s *Service) Vet(ctx context.Context, key mls.ConvoKey, caller mls.DID, users []mls.DID) (Vetted, error) {
	standing, err := s.store.RequireMember(ctx, key, caller)
	if err != nil {
		return Vetted{}, err
	}
	roster, err := s.store.ListMembers(ctx, standing.ID)
	if err != nil {
		return Vetted{}, err
	}
	present := Users(roster)
	newcomers := without(users, present)
	if len(newcomers)+len(present) > s.maxMembers {
		return Vetted{}, mls.ErrTooManyMembers
	}
	if len(newcomers) > 0 {
		blocked, err := s.blocks.AnyBetween(ctx, newcomers, present)
		switch {
		case err != nil:
			return Vetted{}, err
		case blocked:
			return Vetted{}, mls.ErrBlockedByMember
		}
	}
	return Vetted{epoch: standing.Epoch}, nil
}

// Add accepts a commit that brings users, or further devices of users, into
// the group, and does everything that follows from it: roster, Welcome, key
// packages, fulfilled requests, requests for devices that are still missing.
func (s *Service) Add(ctx context.Context, tx *store.Tx, convo *store.Convo, sender mls.DID, h Handshake, a Addition, v Vetted) error {
	if v.epoch != convo.Epoch {
		return ErrStale
	}
	if a.view != nil {
		if err := h.CheckWelcome(a.view, convo.CipherSuite); err != nil {
			return err
		}
	}
	used, err := a.resolve(ctx, tx, convo.ID)
	if err != nil {
		return err
	}
	if err := s.admissible(ctx, tx, convo.ID, a.Users, used); err != nil {
		return err
	}
	seq, err := s.Commit(ctx, tx, convo, sender, h, a.at)
	if err != nil {
		return err
	}
	// The commit that adds a device anew removes its old leaf.
	if err := tx.SettleDeviceDebts(ctx, convo.ID, owners(used), convo.Epoch, a.at); err != nil {
		return err
	}
	return s.seat(ctx, tx, convo, a, used, seq)
}

// admissible refuses users that are in the group already and have nothing to
// be added for: no open request, and no device that is not in it yet.
func (s *Service) admissible(ctx context.Context, tx *store.Tx, convo mls.ConvoID, users []mls.DID, used []store.KeyPackage) error {
	active, err := tx.FindActive(ctx, convo, users...)
	if err != nil || len(active) == 0 {
		return err
	}
	requests, err := tx.ListRequests(ctx, convo)
	if err != nil {
		return err
	}
	for _, u := range users {
		present := slices.ContainsFunc(active, func(d store.ActiveDevice) bool { return d.User == u })
		asked := slices.ContainsFunc(requests, func(r store.Request) bool { return r.Device.User == u && r.Kind != store.RequestRemoval })
		brings := slices.ContainsFunc(used, func(k store.KeyPackage) bool {
			return k.Owner.User == u && !slices.ContainsFunc(active, func(d store.ActiveDevice) bool { return d.Device == k.Owner && !d.NeedsRejoin })
		})
		if present && !asked && !brings {
			return mls.ErrAlreadyMember
		}
	}
	return nil
}

// seat writes the roster rows of an addition and its Welcome, and opens
// requests for the users' devices that were not added with them. seq is that
// of the commit that added them: their history begins after it.
func (s *Service) seat(ctx context.Context, tx *store.Tx, convo *store.Convo, a Addition, used []store.KeyPackage, seq mls.Seq) error {
	if len(a.Users) == 0 && len(used) == 0 {
		return nil
	}
	registered, err := tx.ListDevices(ctx, mls.UniqueDIDs(append(ownerUsers(used), a.Users...))...)
	if err != nil {
		return err
	}
	var members []store.NewMember
	for _, d := range uniqueDevices(owners(used)) {
		members = append(members, newMember(d, registered))
	}
	for _, u := range a.Users {
		if !slices.ContainsFunc(used, func(k store.KeyPackage) bool { return k.Owner.User == u }) {
			members = append(members, newMember(store.Device{User: u}, registered))
		}
	}
	if err := tx.UpsertMembers(ctx, convo.ID, members, store.Joining{Epoch: convo.Epoch, Seq: seq, At: a.at}); err != nil {
		return err
	}
	if err := a.deliver(ctx, tx, convo, used); err != nil {
		return err
	}
	return s.requestMissing(ctx, tx, convo.ID, a, registered)
}

func ownerUsers(used []store.KeyPackage) []mls.DID {
	users := make([]mls.DID, len(used))
	for i, k := range used {
		users[i] = k.Owner.User
	}
	return users
}

func uniqueDevices(devices []store.Device) []store.Device {
	var out []store.Device
	for _, d := range devices {
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out
}

func newMember(d store.Device, registered []store.UserDevice) store.NewMember {
	m := store.NewMember{User: d.User, Device: d.ID, MLSDID: string(d.User)}
	for i := range registered {
		if registered[i].Device == d {
			m.MLSDID, m.DeviceName = registered[i].MLSDID, &registered[i].Name
		}
	}
	return m
}

// requestMissing asks the members to add the registered devices of users that
// are not on the roster, and tells them so.
func (s *Service) requestMissing(ctx context.Context, tx *store.Tx, convo mls.ConvoID, a Addition, registered []store.UserDevice) error {
	active, err := tx.FindActive(ctx, convo, a.Users...)
	if err != nil {
		return err
	}
	var events []store.NewEvent
	for _, d := range registered {
		if !slices.Contains(a.Users, d.User) || slices.ContainsFunc(active, func(x store.ActiveDevice) bool { return x.Device == d.Device }) {
			continue
		}
		request, existing, err := tx.OpenRequest(ctx, convo, d.Device, store.RequestDevice, nil, a.at)
		if err != nil {
			return err
		}
		if !existing {
			events = append(events, RequestEvent(request))
		}
	}
	return tx.AppendEvents(ctx, convo, a.at, events...)
}

// RequestEvent tells the members of a request that they can fulfil.
func RequestEvent(r store.Request) store.NewEvent {
	kind := store.EventDevicePending
	if r.Kind == store.RequestRejoin {
		kind = store.EventRejoinRequested
	}
	return store.NewEvent{Kind: kind, Audience: store.ToMembers, User: r.Device.User, Device: r.Device.ID, Request: r.ID}
}
