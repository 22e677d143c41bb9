package delivery

import (
	"context"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// NewConvo is a conversation around the group that a client names in hex, with the name of its
// cipher suite. Errors: mls.ErrInvalidGroupID, mls.ErrInvalidCipherSuite.
func NewConvo(creator mls.DID, groupID, suite string, at time.Time) (store.NewConvo, error) {
	group, err := mls.ParseGroupID(groupID)
	if err != nil {
		return store.NewConvo{}, err
	}
	known, err := mls.ParseCipherSuite(suite)
	if err != nil {
		return store.NewConvo{}, mls.ErrInvalidCipherSuite
	}
	return store.NewConvo{ID: mls.NewConvoID(at, group), GroupID: group, Creator: creator, CipherSuite: known, At: at}, nil
}

// vetNew checks for blocks among the first users of a conversation. The first one is its creator.
func (s *Service) vetNew(ctx context.Context, users []mls.DID) error {
	if len(users) > s.MaxMembers {
		return mls.ErrTooManyMembers
	}
	if len(users) < 2 {
		return nil
	}
	blocked, err := s.Blocks.AnyBetween(ctx, users[0], users, nil)
	switch {
	case err != nil:
		return err
	case blocked:
		return mls.ErrMutualBlockDetected
	}
	return nil
}

// NewGroup is the group that a conversation begins with.
type NewGroup struct {
	// Info makes the conversation a verified one, nil an opaque one.
	Info *mls.Deposit
	// Epoch is what the creator says that it is in, nil for nothing.
	Epoch *mls.Epoch
	// SendKey is a key for sealed sends in the epoch that it begins in, nil for none.
	SendKey *mls.SendKey
}

// Found comes before the transaction that makes a conversation. It settles which epoch the
// conversation begins in and whether its group will be followed, verifies of a GroupInfo what can
// be verified without the database, and checks for blocks among the users. Errors:
// mls.ErrGroupInfoRequired, mls.ErrInvalidGroupInfo, mls.ErrTooManyMembers,
// mls.ErrMutualBlockDetected.
func (s *Service) Found(ctx context.Context, c *store.NewConvo, g NewGroup, a *Addition) error {
	if err := s.found(c, g, a); err != nil {
		return err
	}
	return s.vetNew(ctx, append([]mls.DID{c.Creator}, a.Users...))
}

func (s *Service) found(c *store.NewConvo, g NewGroup, a *Addition) (err error) {
	if g.Info != nil {
		return found(c, g, a)
	}
	if c.Epoch, err = mls.BaseEpoch(g.Epoch, a.HasWelcome()); err != nil {
		return err
	}
	if s.PublicHandshakes {
		return mls.ErrGroupInfoRequired
	}
	return nil
}

// found is Found for a group that the server follows.
func found(c *store.NewConvo, g NewGroup, a *Addition) error {
	c.Verified = true
	if len(a.names) > 0 && !a.HasWelcome() {
		return mls.ErrWelcomeMismatch // who is named is in the group, and could not join it
	}
	info, err := g.Info.Info()
	if err != nil {
		return err
	}
	if info.Context.Epoch > mls.MaxBaseEpoch {
		return mls.InvalidGroupInfo(mls.CodeEpochTooLarge)
	}
	epoch := g.Epoch
	if epoch == nil {
		epoch = &info.Context.Epoch
	}
	if c.Epoch, err = mls.BaseEpoch(epoch, true); err != nil {
		return err
	}
	if _, err := g.Info.Open(c.GroupID, c.CipherSuite, c.Epoch); err != nil {
		return err
	}
	if !acceptable(info.Context.Extensions) {
		return mls.InvalidGroupInfo(mls.CodeForbiddenExtension)
	}
	return nil
}

// Create writes a conversation with its creator as admin, the initial members and their Welcomes.
// The leaves of a group that the server follows are the creator's own and those of the packages
// that the Welcomes are for. Found was called before. Errors: mls.ErrGroupAlreadyExists,
// mls.ErrInvalidWelcome, mls.ErrKeyPackageNotFound, mls.ErrWelcomeMismatch,
// mls.ErrInvalidGroupInfo, mls.ErrTooManyInvitations.
func (s *Service) Create(ctx context.Context, tx *store.Tx, c store.NewConvo, g NewGroup, a Addition) error {
	if err := tx.CreateConvo(ctx, c); err != nil {
		return err
	}
	if err := a.welcomesFor(c.CipherSuite); err != nil {
		return err
	}
	convo := &store.Convo{ID: c.ID, GroupID: c.GroupID, CipherSuite: c.CipherSuite, Epoch: c.Epoch, Verified: c.Verified}
	// A Welcome may address the creator's other devices besides the initial members.
	used, err := a.resolve(ctx, tx, c.ID, c.Creator)
	if err != nil {
		return err
	}
	// The lock of the inviter comes after those of key packages, as in Add.
	by := inviter{user: c.Creator, list: "/initialMembers", all: a.Users, at: c.At}
	invited, err := by.invite(ctx, tx, a.Users)
	if err != nil {
		return err
	}
	devices, err := tx.ListDevices(ctx, c.Creator)
	if err != nil {
		return err
	}
	begun, err := begin(&c, g, devices, used)
	if err != nil {
		return err
	}
	if err := tx.UpsertMembers(ctx, c.ID, []store.NewMember{begun.creator}, store.Place{Epoch: c.Epoch, At: c.At}); err != nil {
		return err
	}
	if err := tx.AppointAdmin(ctx, c.ID, c.Creator, c.Creator, c.At); err != nil {
		return err
	}
	if err := enter(ctx, tx, entry{convo: convo, Addition: a, used: used, inviter: c.Creator, invited: invited}); err != nil {
		return err
	}
	if _, err := giveKey(ctx, tx, convo, c.Creator, g.SendKey); err != nil {
		return err
	}
	if begun.state != nil {
		if err := tx.PutGroupState(ctx, convo, *begun.state); err != nil {
			return err
		}
		if err := tx.SetLeaves(ctx, c.ID, begun.state.Leaves); err != nil {
			return err
		}
	}
	if !begun.known {
		return nil
	}
	active, err := tx.FindActive(ctx, c.ID, c.Creator)
	if err != nil {
		return err
	}
	own := Addition{Users: []mls.DID{c.Creator}, at: c.At}
	return own.requestMissing(ctx, tx, c.ID, devices, active)
}

// beginning is what is known of a new group.
type beginning struct {
	creator store.NewMember
	// known says that creator names the device that made the group.
	known bool
	state *store.GroupState // nil when the server does not follow the group
}

// begin tells which device made a group, by its leaf where that can be seen.
func begin(c *store.NewConvo, g NewGroup, devices []store.UserDevice, used []store.KeyPackage) (beginning, error) {
	if !c.Verified {
		device, known := creatingDevice(c.Creator, devices, used)
		b := beginning{creator: newMember(device, devices), known: known}
		if c.Epoch <= 1 {
			// Who makes a group has leaf 0 (RFC 9420 11), and one's own commit moves nobody's leaf.
			b.creator.LeafIndex = new(int64)
		}
		return b, nil
	}
	group, err := g.Info.Open(c.GroupID, c.CipherSuite, c.Epoch)
	if err != nil {
		return beginning{}, err
	}
	info, err := g.Info.Info()
	if err != nil {
		return beginning{}, err
	}
	device, err := deviceAt(c.Creator, group.Leaf(info.Signer), devices)
	if err != nil {
		return beginning{}, err
	}
	leaves, err := founding(group, info.Signer, device, used, c.At)
	return beginning{
		creator: newMember(device, devices), known: true,
		state: &store.GroupState{GroupInfo: info.Raw, Proven: true, Depositor: c.Creator, Leaves: leaves, At: c.At},
	}, err
}

// deviceAt tells which device of a user a leaf is: the one that its credential names, with its
// registered key, else the one whose key it has. A user without devices has none to be told. The
// error is mls.ErrInvalidGroupInfo.
func deviceAt(user mls.DID, leaf *mls.LeafNode, devices []store.UserDevice) (store.Device, error) {
	did, name, ok := mls.SplitIdentity(leaf.Credential.Identity)
	if !ok || did != user {
		return store.Device{}, mls.InvalidGroupInfo(mls.CodeNotTheCaller)
	}
	for _, d := range devices {
		if string(d.SignatureKey) == string(leaf.SignatureKey) && (name == "" || name == string(d.ID)) {
			return d.Device, nil
		}
	}
	if len(devices) > 0 || name != "" {
		return store.Device{}, mls.InvalidGroupInfo(mls.CodeNotTheCaller)
	}
	return store.Device{User: user}, nil
}

// creatingDevice tells which device made the group: the only one of the creator's that the Welcome
// does not address. A token does not say it. When it cannot be told, the creator's row names no
// device, and no requests are opened for devices of which one is in the group already.
func creatingDevice(creator mls.DID, devices []store.UserDevice, used []store.KeyPackage) (store.Device, bool) {
	var rest []store.Device
	for _, d := range devices {
		if !slices.ContainsFunc(used, func(k store.KeyPackage) bool { return k.Owner == d.Device }) {
			rest = append(rest, d.Device)
		}
	}
	if len(rest) == 1 {
		return rest[0], true
	}
	return store.Device{User: creator}, false
}
