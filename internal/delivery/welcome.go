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

// Addition is what a request wants to bring into a group: users, Welcomes for
// their devices, and the key packages that the client says it used.
type Addition struct {
	Users []mls.DID
	// welcomes are for different devices each; none when there is no Welcome.
	welcomes []*mls.WelcomeView
	names    []PackageName
	at       time.Time
}

// HasWelcome reports whether the request came with a Welcome.
func (a *Addition) HasWelcome() bool { return len(a.welcomes) > 0 }

// ParseAddition reads the Welcomes, which may be missing, and keeps the names for later: the one of
// welcome, nil or "" for none, and those of more. Errors: mls.ErrInvalidWelcome,
// mls.ErrWelcomeMismatch when two are for one device.
func ParseAddition(welcome *string, more []string, names []PackageName, users []mls.DID, at time.Time) (Addition, error) {
	a := Addition{names: names, Users: users, at: at}
	texts := more
	if welcome != nil && *welcome != "" {
		texts = append([]string{*welcome}, more...)
	}
	welcomed := make(map[mls.KeyPackageRef]bool)
	for _, text := range texts {
		raw, err := mls.DecodeText(text)
		if err != nil {
			return a, mls.InvalidWelcome(mls.CodeBadEncoding)
		}
		w, err := mls.ReadWelcome(raw)
		if err != nil {
			return a, err
		}
		for _, ref := range w.Refs {
			if welcomed[ref] {
				return a, mls.ErrWelcomeMismatch
			}
			welcomed[ref] = true
		}
		a.welcomes = append(a.welcomes, w)
	}
	return a, nil
}

// welcomesFor refuses Welcomes of another suite than the group's.
func (a *Addition) welcomesFor(suite mls.CipherSuite) error {
	if slices.ContainsFunc(a.welcomes, func(w *mls.WelcomeView) bool { return w.Suite != suite }) {
		return mls.InvalidWelcome(mls.CodeWrongSuite)
	}
	return nil
}

// refs are the key packages that the Welcomes are for.
func (a *Addition) refs() []mls.KeyPackageRef {
	var all []mls.KeyPackageRef
	for _, w := range a.welcomes {
		all = append(all, w.Refs...)
	}
	return all
}

// wanted is one key package that a request refers to. The Welcome does not say
// whose its packages are, so there owner is "".
type wanted struct {
	name  []byte
	owner mls.DID
}

func (a *Addition) wanted() ([]wanted, error) {
	var list []wanted
	for _, ref := range a.refs() {
		list = append(list, wanted{name: []byte(ref)})
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
	refs := a.refs()
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
		if n < len(refs) {
			welcomed[owner] = true
		} else if !slices.Contains(refs, found[i].Ref) {
			return nil, mls.ErrWelcomeMismatch
		}
	}
	if len(refs) == 0 {
		return found, nil
	}
	return found, a.coversUsers(welcomed)
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
// routes the Welcomes and tells the devices of them; users who are invited were told already.
func (e *entry) deliver(ctx context.Context, tx *store.Tx, active []store.ActiveDevice) error {
	if len(e.used) == 0 {
		return nil
	}
	if err := tx.ConsumeKeyPackages(ctx, e.used, e.at); err != nil {
		return err
	}
	if _, err := tx.FulfilRequests(ctx, e.convo.ID, owners(e.used), e.place()); err != nil {
		return err
	}
	var events []store.NewEvent
	for _, welcome := range e.welcomes {
		w := store.NewWelcome{ConvoID: e.convo.ID, Place: e.place(), Bytes: welcome.Bytes}
		for _, k := range e.used {
			if !slices.Contains(welcome.Refs, k.Ref) {
				continue
			}
			w.Routes = append(w.Routes, store.WelcomeRoute{Device: k.Owner, KeyPackageRef: k.Ref})
			if invitedIn(active, k.Owner.User) {
				continue
			}
			events = append(events, store.NewEvent{
				Kind: store.EventWelcome, Audience: store.ToUser, AudienceDID: k.Owner.User,
				User: k.Owner.User, Device: k.Owner.ID, Epoch: &e.convo.Epoch,
			})
		}
		if err := tx.RouteWelcome(ctx, w); err != nil {
			return err
		}
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
