package delivery

import (
	"context"
	"slices"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// entry is an addition at its place in the conversation.
type entry struct {
	Addition
	convo *store.Convo
	// seq is that of the commit that adds: the history of the newcomers begins after it.
	seq mls.Seq
	// used are the key packages that the addition refers to.
	used []store.KeyPackage
	// invited are those of its users who are invited by inviter.
	inviter mls.DID
	invited []mls.DID
}

// place is that of the commit that adds.
func (e *entry) place() store.Place {
	return store.Place{Generation: e.convo.Generation, Epoch: e.convo.Epoch, Seq: e.seq, At: e.at}
}

// enter writes the roster rows of an addition and its Welcome, and opens requests for the users'
// devices that were not added with them.
func enter(ctx context.Context, tx *store.Tx, e entry) error {
	if len(e.Users) == 0 && len(e.used) == 0 {
		return nil
	}
	users := mls.UniqueDIDs(append(ownerUsers(e.used), e.Users...))
	registered, err := tx.ListDevices(ctx, users...)
	if err != nil {
		return err
	}
	var members []store.NewMember
	for _, d := range uniqueDevices(owners(e.used)) {
		members = append(members, newMember(d, registered))
	}
	for _, u := range e.Users {
		if !slices.ContainsFunc(e.used, func(k store.KeyPackage) bool { return k.Owner.User == u }) {
			members = append(members, newMember(store.Device{User: u}, registered))
		}
	}
	for i := range members {
		if slices.Contains(e.invited, members[i].User) {
			members[i].InvitedBy = e.inviter
		}
	}
	if err := tx.UpsertMembers(ctx, e.convo.ID, members, e.place()); err != nil {
		return err
	}
	active, err := tx.FindActive(ctx, e.convo.ID, users...)
	if err != nil {
		return err
	}
	if err := e.deliver(ctx, tx, active); err != nil {
		return err
	}
	return e.requestMissing(ctx, tx, e.convo.ID, registered, active)
}

// invitedIn reports whether a user on the roster has not accepted yet.
func invitedIn(active []store.ActiveDevice, user mls.DID) bool {
	return slices.ContainsFunc(active, func(d store.ActiveDevice) bool { return d.User == user && d.Invited })
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

// requestMissing asks the members to add those registered devices of the users that are not among
// the active ones, and tells them so. Nobody learns of the devices of an invited user.
func (a *Addition) requestMissing(ctx context.Context, tx *store.Tx, convo mls.ConvoID, registered []store.UserDevice, active []store.ActiveDevice) error {
	var events []store.NewEvent
	for _, d := range registered {
		if !slices.Contains(a.Users, d.User) || invitedIn(active, d.User) || slices.ContainsFunc(active, func(x store.ActiveDevice) bool { return x.Device == d.Device }) {
			continue
		}
		request, existing, err := tx.OpenRequest(ctx, convo, store.NewRequest{Device: d.Device, Kind: store.RequestDevice, At: a.at})
		if err != nil {
			return err
		}
		if !existing {
			events = append(events, requestEvent(request))
		}
	}
	return tx.AppendEvents(ctx, convo, a.at, events...)
}

// requestEvent tells the members of a request that they can fulfil.
func requestEvent(r store.Request) store.NewEvent {
	kind := store.EventDevicePending
	if r.Kind == store.RequestRejoin {
		kind = store.EventRejoinRequested
	}
	return store.NewEvent{Kind: kind, Audience: store.ToMembers, User: r.Device.User, Device: r.Device.ID, Request: r.ID}
}
