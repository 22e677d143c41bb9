package delivery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// freshRegistration is how long after a registration the devices that were there before it are
	// protected: whoever has stolen a token must not register itself and throw the others out.
	freshRegistration = 24 * time.Hour
	// deletionOpen is how long after its deletion a device is looked for in conversations at least:
	// requests that found it registered may put it on a roster a moment later.
	deletionOpen = 2 * time.Minute
	// retireAtOnce is in how many conversations a deletion is carried out before it is answered.
	// The others follow within a minute.
	retireAtOnce = 20
	// deletionsAtOnce is how many deletions one run carries on with.
	deletionsAtOnce = 100
)

// deviceChange is a change of a user's devices that another one of them may have to sign.
type deviceChange struct {
	mls.DeviceProof

	devices []store.UserDevice
	// ended are the registrations of the last 24 hours whose devices were deleted since.
	ended     []time.Time
	signature []byte
	at        time.Time
}

// newDeviceChange is a change to a user's devices, which are locked.
func newDeviceChange(ctx context.Context, tx *store.Tx, proof mls.DeviceProof, devices []store.UserDevice, at time.Time) (*deviceChange, error) {
	ended, err := tx.ListEndedRegistrations(ctx, proof.User, at.Add(-freshRegistration))
	return &deviceChange{DeviceProof: proof, devices: devices, ended: ended, at: at}, err
}

// check allows the device to go. Errors: mls.ErrDeviceNotFound, mls.ErrDeviceProofRequired.
func (c *deviceChange) check() error {
	i := slices.IndexFunc(c.devices, func(d store.UserDevice) bool { return d.ID == c.Removed })
	if i < 0 {
		return mls.ErrDeviceNotFound
	}
	since := c.protectedSince(&c.devices[i])
	if since.IsZero() || c.signedBy(func(d *store.UserDevice) bool { return d.RegisteredAt.Before(since) }) {
		return nil
	}
	return mls.Detailed(mls.ErrDeviceProofRequired, "another device was registered after it, in the last 24 hours")
}

// protectedSince is the first registration of the last 24 hours that came after a device's own,
// zero for none. That its device is gone again changes nothing: whoever has registered one could
// delete it first, and go on.
func (c *deviceChange) protectedSince(d *store.UserDevice) time.Time {
	registrations := slices.Clone(c.ended)
	for _, e := range c.devices {
		registrations = append(registrations, e.RegisteredAt)
	}
	var since time.Time
	for _, at := range registrations {
		if at.After(d.RegisteredAt) && c.at.Sub(at) < freshRegistration && (since.IsZero() || at.Before(since)) {
			since = at
		}
	}
	return since
}

// signedBy reports whether one of the devices that may has signed the change.
func (c *deviceChange) signedBy(may func(*store.UserDevice) bool) bool {
	for i := range c.devices {
		if d := &c.devices[i]; may(d) && c.Verify(d.SignatureKey, c.signature) {
			return true
		}
	}
	return false
}

// checkReturn refuses the signature key of a deleted device, unless another one that was there
// before the deletion has signed that this very device comes back. Whoever has registered one since
// may have a stolen token, and what was signed for another deletion does not hold for this one. The
// error is mls.ErrDeviceProofRequired.
func (c *deviceChange) checkReturn(ctx context.Context, tx *store.Tx) error {
	deleted, err := tx.FindDeletedKey(ctx, c.User, c.Added)
	if err != nil || deleted == nil {
		return err
	}
	back := *c
	back.Removed = deleted.ID
	if !back.signedBy(func(d *store.UserDevice) bool { return d.RegisteredAt.Before(deleted.DeletedAt) }) {
		return mls.Detailed(mls.ErrDeviceProofRequired, "the signature key is that of a device that was deleted; a device that was there before that has to sign, with the deleted one's id")
	}
	return tx.ForgetDeletedKey(ctx, c.User, c.Added)
}

// tooMany is mls.ErrTooManyDevices with the device that was unused for longest among those that
// need no signature to go. There is one unless the limit was lowered: whoever has deleted the one
// that was registered last has made room for another one.
func (c *deviceChange) tooMany() error {
	free := slices.DeleteFunc(slices.Clone(c.devices), func(d store.UserDevice) bool { return !c.protectedSince(&d).IsZero() })
	if len(free) == 0 {
		return mls.Detailed(mls.ErrTooManyDevices, fmt.Sprintf("there are %d, none of which can be replaced without a signature today", len(c.devices)))
	}
	stalest := slices.MinFunc(free, func(a, b store.UserDevice) int {
		return cmp.Or(a.SeenOn.Compare(b.SeenOn), b.RegisteredAt.Compare(a.RegisteredAt))
	})
	return mls.Detailed(mls.ErrTooManyDevices, fmt.Sprintf("there are %d; the one that was unused for longest is %s, which replaceDeviceId can replace", len(c.devices), stalest.ID))
}

// Deletion is a user's wish to delete a device.
type Deletion struct {
	Device store.Device
	// Proof is a signature by a device of old, nil for none.
	Proof []byte
	At    time.Time
}

// DeleteDevice deletes a device of a user with its key packages, and returns how many there were.
// Its leaves become debts of its conversations, in most cases before the answer. A repeat succeeds.
// Errors: mls.ErrDeviceNotFound, mls.ErrDeviceProofRequired.
func (s *Service) DeleteDevice(ctx context.Context, d Deletion) (packages int, err error) {
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		devices, err := tx.LockDevices(ctx, d.Device.User)
		if err != nil {
			return err
		}
		if gone, err := tx.IsDeleted(ctx, d.Device); err != nil || gone {
			return err // it is repeated
		}
		change, err := newDeviceChange(ctx, tx, mls.DeviceProof{User: d.Device.User, Removed: d.Device.ID}, devices, d.At)
		if err != nil {
			return err
		}
		change.signature = d.Proof
		if err := change.check(); err != nil {
			return err
		}
		if _, err := tx.LockConvosOf(ctx, d.Device.User); err != nil {
			return err
		}
		packages, err = tx.DeleteDevice(ctx, d.Device, d.At)
		return err
	})
	if err == nil {
		s.retireSoon(ctx, d.Device, d.At) // a repeat carries on where the first one was cut off
	}
	return packages, err
}

// retireSoon tells conversations of a device that was deleted. What fails is left to RetireDevices.
func (s *Service) retireSoon(ctx context.Context, d store.Device, at time.Time) {
	convos, err := s.store.ListConvosOfDevice(ctx, d)
	if err != nil {
		return
	}
	for _, convo := range convos[:min(len(convos), retireAtOnce)] {
		if s.retire(ctx, convo, d, at) != nil {
			return
		}
	}
}

// RetireDevices carries on with deletions, one conversation at a time: after a crash, of devices in
// many conversations, and of those that a request has put on a roster while they were deleted. It
// returns in how many conversations something was left to do.
func (s *Service) RetireDevices(ctx context.Context, now time.Time) (int64, error) {
	deletions, err := s.store.ListDeletions(ctx, deletionsAtOnce)
	if err != nil {
		return 0, err
	}
	var retired int64
	var faults []error // one deletion that cannot be carried on holds up no others
	for _, d := range deletions {
		n, err := s.carryOn(ctx, d, now)
		retired += n
		if ctx.Err() != nil || errors.Is(err, mls.ErrBusy) {
			return retired, err // nor would the next one go
		}
		faults = append(faults, err)
	}
	return retired, errors.Join(faults...)
}

// carryOn takes a deleted device off the rosters that it is still on, and closes the deletion when
// no request can put it on another one any more.
func (s *Service) carryOn(ctx context.Context, d store.Deletion, now time.Time) (retired int64, err error) {
	convos, err := s.store.ListConvosOfDevice(ctx, d.Device)
	if err != nil {
		return 0, err
	}
	var faults []error
	for _, convo := range convos {
		if err := s.retire(ctx, convo, d.Device, now); err != nil {
			faults = append(faults, err)
			continue
		}
		retired++
	}
	if len(faults) > 0 || now.Sub(d.DeletedAt) < deletionOpen {
		return retired, errors.Join(faults...)
	}
	return retired, s.store.CloseDeletion(ctx, d.Device)
}

// retire takes a deleted device off a conversation's roster, and asks the members to remove its
// leaf.
func (s *Service) retire(ctx context.Context, convo mls.ConvoID, d store.Device, at time.Time) error {
	return s.store.InTx(ctx, func(tx *store.Tx) error {
		locked, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: convo})
		if err != nil {
			return err
		}
		left, err := tx.RetireDevice(ctx, convo, d, at)
		if err != nil || left == nil {
			return err
		}
		end := ending{Removal: Removal{Actor: d.User, Target: d.User, At: at}}
		return end.owe(ctx, tx, &locked, []store.LeftDevice{*left})
	})
}
