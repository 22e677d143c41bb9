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

// VetNew checks for blocks among the first users of a conversation. The first one is its creator.
func (s *Service) VetNew(ctx context.Context, users []mls.DID) error {
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

// Create writes a conversation with its creator as admin, the initial members and their Welcome.
// Errors: mls.ErrGroupAlreadyExists, mls.ErrInvalidWelcome, mls.ErrKeyPackageNotFound,
// mls.ErrWelcomeMismatch.
func (s *Service) Create(ctx context.Context, tx *store.Tx, c store.NewConvo, a Addition) error {
	if err := tx.CreateConvo(ctx, c); err != nil {
		return err
	}
	if a.welcome != nil && a.welcome.Suite != c.CipherSuite {
		return mls.InvalidWelcome(mls.CodeWrongSuite)
	}
	convo := &store.Convo{ID: c.ID, GroupID: c.GroupID, CipherSuite: c.CipherSuite, Epoch: c.Epoch}
	// A Welcome may address the creator's other devices besides the initial members.
	used, err := a.resolve(ctx, tx, c.ID, c.Creator)
	if err != nil {
		return err
	}
	devices, err := tx.ListDevices(ctx, c.Creator)
	if err != nil {
		return err
	}
	device, known := creatingDevice(c.Creator, devices, used)
	members := []store.NewMember{newMember(device, devices)}
	if c.Epoch <= 1 {
		// Who makes a group has leaf 0 (RFC 9420 11), and one's own commit moves nobody's leaf.
		members[0].LeafIndex = new(int64)
	}
	if err := tx.UpsertMembers(ctx, c.ID, members, store.Place{Epoch: c.Epoch, At: c.At}); err != nil {
		return err
	}
	if err := tx.AppointAdmin(ctx, c.ID, c.Creator, c.Creator, c.At); err != nil {
		return err
	}
	if err := enter(ctx, tx, entry{convo: convo, Addition: a, used: used}); err != nil || !known {
		return err
	}
	own := Addition{Users: []mls.DID{c.Creator}, at: c.At}
	return own.requestMissing(ctx, tx, c.ID, devices)
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
