package delivery

import (
	"bytes"
	"context"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Entrance is what a device needs to join a group by itself.
type Entrance struct {
	// GroupInfo is an MLSMessage.
	GroupInfo []byte
	Epoch     mls.Epoch
}

// FindEntrance is the GroupInfo of a conversation's epoch, for its members. Errors: those of
// RequireMember, mls.ErrGroupInfoUnavailable.
func (s *Service) FindEntrance(ctx context.Context, key mls.ConvoKey, user mls.DID) (Entrance, error) {
	standing, err := s.store.RequireMember(ctx, key, user)
	if err != nil {
		return Entrance{}, err
	}
	state, err := s.store.FindGroupState(ctx, &standing.Convo)
	switch {
	case err != nil:
		return Entrance{}, err
	case state == nil || state.Retired:
		return Entrance{}, mls.ErrGroupInfoUnavailable
	}
	return Entrance{GroupInfo: mls.FrameGroupInfo(state.GroupInfo), Epoch: standing.Epoch}, nil
}

// GroupDeposit is a GroupInfo that a user deposits for those who join by themselves.
type GroupDeposit struct {
	Key  mls.ConvoKey
	User mls.DID
	// Epoch is the one that the user believes to stand.
	Epoch mls.Epoch
	Info  *mls.Deposit
	At    time.Time
}

// DepositGroupInfo replaces the GroupInfo that is handed out in an epoch by another one of the same
// state of the group, signed by a leaf of the user's. Nobody can see whether its external_pub is
// true, so each user can do so once in an epoch: updated is false for a second one. It is true for
// a repeat. Errors: those of LockAsMember, mls.ErrGroupReset, mls.ErrEpochMismatch,
// mls.ErrGroupReinitialized, mls.ErrInvalidGroupInfo.
func (s *Service) DepositGroupInfo(ctx context.Context, d GroupDeposit) (updated bool, err error) {
	standing, err := s.store.RequireMember(ctx, d.Key, d.User)
	if err != nil {
		return false, err
	}
	if !standing.Verified && standing.Epoch == d.Epoch {
		// What it costs is spent before the lock; the fault is told under it.
		_, _ = d.Info.Open(standing.GroupID, standing.CipherSuite, d.Epoch)
	}
	err = s.store.InTx(ctx, func(tx *store.Tx) (err error) {
		updated, err = d.deposit(ctx, tx)
		return err
	})
	return updated, s.TellGroup(ctx, d.Key, d.User, err)
}

func (d *GroupDeposit) deposit(ctx context.Context, tx *store.Tx) (bool, error) {
	standing, err := tx.LockAsMember(ctx, d.Key, d.User)
	if err != nil {
		return false, err
	}
	info, err := d.Info.Info()
	if err == nil {
		if err := refuseFormer(ctx, tx, &standing.Convo, mls.GroupIDFromBytes(info.Context.GroupID)); err != nil {
			return false, err
		}
	}
	switch {
	case standing.Successor != nil:
		return false, mls.ErrGroupReinitialized
	case standing.Epoch != d.Epoch:
		return false, mls.EpochMismatch(d.Epoch, standing.Epoch)
	case err != nil:
		return false, err
	}
	convo := &standing.Convo
	state, err := tx.FindGroupState(ctx, convo)
	if err != nil {
		return false, err
	}
	if state != nil {
		switch {
		case state.Depositor == d.User && bytes.Equal(state.GroupInfo, info.Raw):
			return !state.Retired, nil
		case slices.Contains(state.Depositors, d.User), state.Retired && state.Depositor == d.User:
			return false, nil
		}
	}
	devices, err := tx.ListDevices(ctx, d.User)
	if err != nil {
		return false, err
	}
	if err := d.fits(convo, state, devices); err != nil {
		return false, err
	}
	return true, tx.DepositGroupInfo(ctx, convo, d.User, info.Raw, d.At)
}

// fits holds the GroupInfo against what is known of the group: the state that the server has
// followed, else the one that somebody deposited before. The error is mls.ErrInvalidGroupInfo.
func (d *GroupDeposit) fits(c *store.Convo, state *store.GroupState, devices []store.UserDevice) error {
	if state == nil || !state.Proven {
		return d.fitsUnproven(c, state, devices)
	}
	info, err := d.Info.Info()
	if err != nil {
		return err
	}
	group, err := resume(state)
	if err != nil {
		return err
	}
	if err := group.Agrees(info); err != nil {
		return mls.InvalidGroupInfo(mls.CodeOf(err))
	}
	r := rights{devices: devices}
	if owner, ok := ownerOf(state.Leaves, info.Signer); !ok || owner.User != d.User || !r.registered(owner) {
		return mls.InvalidGroupInfo(mls.CodeNotTheCaller)
	}
	return nil
}

// fitsUnproven is fits for a group that the server does not follow. What was deposited before holds
// until a commit that joined by it is taken back, though nobody knows whether it is true: else
// whoever came last could lead joiners astray.
func (d *GroupDeposit) fitsUnproven(c *store.Convo, state *store.GroupState, devices []store.UserDevice) error {
	group, err := d.Info.Open(c.GroupID, c.CipherSuite, c.Epoch)
	if err != nil {
		return err
	}
	info, err := d.Info.Info()
	if err != nil {
		return err
	}
	if _, err := deviceAt(d.User, group.Leaf(info.Signer), devices); err != nil {
		return err
	}
	if state == nil || state.Retired {
		return nil
	}
	before, err := mls.ParseGroupInfo(state.GroupInfo)
	if err != nil {
		return mls.Impossible(err) // it was read when it came
	}
	if !info.Describes(before) {
		return mls.InvalidGroupInfo(mls.CodeGroupInfoMismatch)
	}
	return nil
}

// resume is the group of a state that was checked when it was stored.
func resume(state *store.GroupState) (*mls.Group, error) {
	info, err := mls.ParseGroupInfo(state.GroupInfo)
	if err != nil {
		return nil, mls.Impossible(err)
	}
	group, err := mls.ResumeGroup(info)
	if err != nil {
		return nil, mls.Impossible(err)
	}
	return group, nil
}
