package delivery

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// PackageName names a key package of a user, in hex: by its KeyPackageRef or by the SHA-256 of its
// bytes.
type PackageName struct {
	User mls.DID
	Name string
}

// Addition is what a request wants to bring into a group: users, a Welcome for
// their devices, and the key packages that the client says it used.
type Addition struct {
	Users   []mls.DID
	welcome *mls.WelcomeView // nil when there is none
	names   []PackageName
	at      time.Time
}

// HasWelcome reports whether the request came with a Welcome.
func (a *Addition) HasWelcome() bool { return a.welcome != nil }

// ParseAddition reads the Welcome, which may be missing, and keeps the names for later. The error
// is mls.ErrInvalidWelcome.
func ParseAddition(welcome *string, names []PackageName, users []mls.DID, at time.Time) (Addition, error) {
	a := Addition{names: names, Users: users, at: at}
	if welcome == nil || *welcome == "" {
		return a, nil
	}
	raw, err := mls.DecodeText(*welcome)
	if err != nil {
		return a, mls.InvalidWelcome(mls.CodeBadEncoding)
	}
	a.welcome, err = mls.ReadWelcome(raw)
	return a, err
}

// wanted is one key package that a request refers to. The Welcome does not say
// whose its packages are, so there owner is "".
type wanted struct {
	name  []byte
	owner mls.DID
}

func (a *Addition) wanted() ([]wanted, error) {
	var list []wanted
	if a.welcome != nil {
		for _, ref := range a.welcome.Refs {
			list = append(list, wanted{name: []byte(ref)})
		}
	}
	for _, n := range a.names {
		name, err := hex.DecodeString(n.Name)
		if err != nil {
			return nil, mls.ErrKeyPackageNotFound // what is no hex names nothing
		}
		list = append(list, wanted{name: name, owner: n.User})
	}
	return list, nil
}

// resolve finds and locks the key packages that an addition refers to. Each reference of the
// Welcome must be an unused package of one of the users, each name that of a package of its user;
// anything else is mls.ErrKeyPackageNotFound. The Welcome decides who is added with what (RFC 9420
// 12.4.3.1): a user whom it does not address, or a name that it does not have, is
// mls.ErrWelcomeMismatch. It may also address the users in also, who need not be addressed.
func (a *Addition) resolve(ctx context.Context, tx *store.Tx, convo mls.ConvoID, also ...mls.DID) ([]store.KeyPackage, error) {
	list, err := a.wanted()
	if err != nil || len(list) == 0 {
		return nil, err
	}
	names := make([][]byte, len(list))
	for i := range list {
		names[i] = list[i].name
	}
	found, err := tx.ResolveKeyPackages(ctx, names)
	if err != nil {
		return nil, err
	}
	if err := a.checkReservations(ctx, tx, convo, found); err != nil {
		return nil, err
	}
	welcomed := map[mls.DID]bool{}
	for n, w := range list {
		i := slices.IndexFunc(found, func(k store.KeyPackage) bool { return k.Named(w.name) })
		if i < 0 {
			return nil, mls.ErrKeyPackageNotFound
		}
		owner := found[i].Owner.User
		foreign := w.owner != "" && w.owner != owner
		if foreign || (!slices.Contains(a.Users, owner) && !slices.Contains(also, owner)) {
			return nil, mls.ErrKeyPackageNotFound
		}
		if n < a.welcomes() {
			welcomed[owner] = true
		} else if !a.addresses(found[i].Ref) {
			return nil, mls.ErrWelcomeMismatch
		}
	}
	if a.welcome == nil {
		return found, nil
	}
	return found, a.coversUsers(welcomed)
}

// welcomes is how many new members the Welcome is for.
func (a *Addition) welcomes() int {
	if a.welcome == nil {
		return 0
	}
	return len(a.welcome.Refs)
}

func (a *Addition) addresses(ref mls.KeyPackageRef) bool {
	return a.welcome != nil && slices.Contains(a.welcome.Refs, ref)
}

// coversUsers refuses an addition with a user whom the Welcome does not address.
func (a *Addition) coversUsers(welcomed map[mls.DID]bool) error {
	if slices.ContainsFunc(a.Users, func(u mls.DID) bool { return !welcomed[u] }) {
		return mls.ErrWelcomeMismatch
	}
	return nil
}

// checkReservations refuses packages that wait for a request in another conversation.
func (a *Addition) checkReservations(ctx context.Context, tx *store.Tx, convo mls.ConvoID, found []store.KeyPackage) error {
	for _, k := range found {
		if k.Request == "" {
			continue
		}
		open, err := tx.FindOpenRequest(ctx, convo, k.Owner)
		switch {
		case err != nil:
			return err
		case open == nil || open.ID != k.Request:
			return mls.ErrKeyPackageNotFound
		}
	}
	return nil
}

// deliver uses up the key packages, fulfils what their devices had asked for,
// routes the Welcome and tells the devices of it.
func (e *entry) deliver(ctx context.Context, tx *store.Tx) error {
	if len(e.used) == 0 {
		return nil
	}
	if err := tx.ConsumeKeyPackages(ctx, e.used, e.at); err != nil {
		return err
	}
	if _, err := tx.FulfilRequests(ctx, e.convo.ID, owners(e.used), e.place()); err != nil {
		return err
	}
	if e.welcome == nil {
		return nil
	}
	w := store.NewWelcome{ConvoID: e.convo.ID, Place: e.place(), Bytes: e.welcome.Bytes}
	events := make([]store.NewEvent, len(e.used))
	for i, k := range e.used {
		w.Routes = append(w.Routes, store.WelcomeRoute{Device: k.Owner, KeyPackageRef: k.Ref})
		events[i] = store.NewEvent{
			Kind: store.EventWelcome, Audience: store.ToUser, AudienceDID: k.Owner.User,
			User: k.Owner.User, Device: k.Owner.ID, Epoch: &e.convo.Epoch,
		}
	}
	if err := tx.RouteWelcome(ctx, w); err != nil {
		return err
	}
	return tx.AppendEvents(ctx, e.convo.ID, e.at, events...)
}

func owners(packages []store.KeyPackage) []store.Device {
	devices := make([]store.Device, len(packages))
	for i, k := range packages {
		devices[i] = k.Owner
	}
	return devices
}
