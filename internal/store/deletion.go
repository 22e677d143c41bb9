package store

import (
	"context"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// LockDevices lists a user's devices in the order of their registration. Until the transaction ends
// nobody else registers or deletes one.
func (tx *Tx) LockDevices(ctx context.Context, user mls.DID) ([]UserDevice, error) {
	if err := tx.q.LockUser(ctx, string(user)); err != nil {
		return nil, fail("lock user", err)
	}
	return tx.ListDevices(ctx, user)
}

// IsDeviceIDTaken reports whether an id is some device's, or was one's lately.
func (r *reader) IsDeviceIDTaken(ctx context.Context, id mls.DeviceID) (bool, error) {
	taken, err := r.q.IsDeviceIDTaken(ctx, id)
	return taken, fail("find device", err)
}

// FindDeletedKey is the device of a user that was deleted lately and had a signature key, nil for
// none.
func (r *reader) FindDeletedKey(ctx context.Context, user mls.DID, key []byte) (*Deletion, error) {
	row, err := r.q.FindDeletedKey(ctx, user, key)
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find deleted device", err)
	}
	return &Deletion{Device{user, row.DeviceID}, row.DeletedAt}, nil
}

// ListEndedRegistrations is when devices of a user were registered after since that were deleted
// again, floored to 2 seconds, in ascending order.
func (r *reader) ListEndedRegistrations(ctx context.Context, user mls.DID, since time.Time) ([]time.Time, error) {
	times, err := r.q.ListEndedRegistrations(ctx, user, since)
	return times, fail("list ended registrations", err)
}

// IsDeleted reports whether a device was deleted lately.
func (r *reader) IsDeleted(ctx context.Context, d Device) (bool, error) {
	deleted, err := r.q.IsDeletedDevice(ctx, d.ID, d.User)
	return deleted, fail("find deleted device", err)
}

// ForgetDeletedKey lets a signature key that a user has deleted come back.
func (tx *Tx) ForgetDeletedKey(ctx context.Context, user mls.DID, key []byte) error {
	return fail("forget deleted key", tx.q.ForgetDeletedKey(ctx, user, key))
}

// DeleteDevice deletes a device with its key packages, tells its user's streams, and returns how
// many key packages there were. What its conversations have of it is left to RetireDevice:
// ListDeletions tells of the device until CloseDeletion. The caller holds the locks of
// LockConvosOf. The error is mls.ErrDeviceNotFound.
func (tx *Tx) DeleteDevice(ctx context.Context, d Device, at time.Time) (packages int, err error) {
	// The packages come first: a commit that adds the device by one of them is over before the
	// device is gone, and the keys for sealed sends that came with it go with the device.
	n, err := tx.q.DeleteDevicePackages(ctx, d.User, d.ID)
	if err != nil {
		return 0, fail("delete key packages", err)
	}
	_, err = tx.q.DeleteDevice(ctx, db.DeleteDeviceParams{UserDID: d.User, DeviceID: d.ID, DeletedAt: bucket(at)})
	switch {
	case isNotFound(err):
		return 0, mls.ErrDeviceNotFound
	case err != nil:
		return 0, fail("delete device", err)
	}
	told, err := tx.q.AppendPersonalEvent(ctx, db.AppendPersonalEventParams{
		Kind: int16(EventDeviceRevoked), UserDID: ptrIf(string(d.User)), DeviceID: d.ID, BucketTs: bucket(at),
	})
	return int(n), fail("append event", complete(told, 1, err))
}

// Deletion is a deleted device whose conversations may not all know of it yet.
type Deletion struct {
	Device
	// DeletedAt is floored to 2 seconds.
	DeletedAt time.Time
}

// ListDeletions is at most limit deletions that are not closed, oldest first.
func (r *reader) ListDeletions(ctx context.Context, limit int) ([]Deletion, error) {
	rows, err := r.q.ListOpenDeletions(ctx, rowLimit(limit))
	if err != nil {
		return nil, fail("list deletions", err)
	}
	deletions := make([]Deletion, len(rows))
	for i, row := range rows {
		deletions[i] = Deletion{Device{row.UserDID, row.DeviceID}, row.DeletedAt}
	}
	return deletions, nil
}

// CloseDeletion ends a deletion: nothing is left of the device.
func (s *Store) CloseDeletion(ctx context.Context, d Device) error {
	return fail("close deletion", s.q.CloseDeletion(ctx, d.ID))
}

// ListConvosOfDevice is the conversations that have something left of a device: its place on the
// roster, a request, a Welcome.
func (r *reader) ListConvosOfDevice(ctx context.Context, d Device) ([]mls.ConvoID, error) {
	ids, err := r.q.ListConvosOfDevice(ctx, d.User, d.ID)
	return ids, fail("list conversations", err)
}

// RetireDevice ends what a conversation has of a deleted device: its place on the roster, its
// requests with their key packages, its Welcomes, its reports. Its user stays, with a place that is
// kept where it has no other device. The result is nil when the device was not on the roster. The
// caller holds the conversation's lock.
func (tx *Tx) RetireDevice(ctx context.Context, convo mls.ConvoID, d Device, at time.Time) (*LeftDevice, error) {
	if err := tx.q.KeepPlace(ctx, db.KeepPlaceParams{ConvoID: convo, UserDID: d.User, DeviceID: d.ID}); err != nil {
		return nil, fail("keep place", err)
	}
	row, err := tx.q.MarkDeviceDeleted(ctx, db.MarkDeviceDeletedParams{ConvoID: convo, UserDID: d.User, DeviceID: d.ID, LeftAt: bucket(at)})
	left := &LeftDevice{Device: d.ID, LeafIndex: row.LeafIndex, Invited: row.Invited}
	switch {
	case isNotFound(err):
		left = nil
	case err != nil:
		return nil, fail("retire device", err)
	}
	dropped, err := tx.q.DropDeviceRequests(ctx, db.DropDeviceRequestsParams{ConvoID: convo, UserDID: d.User, DeviceID: d.ID, Now: bucket(at)})
	if err != nil {
		return nil, fail("drop requests", err)
	}
	if len(dropped) > 0 {
		if _, err := tx.q.ReleaseKeyPackages(ctx, dropped); err != nil {
			return nil, fail("release key packages", err)
		}
	}
	if _, err := tx.q.DropDeviceWelcomes(ctx, db.DropDeviceWelcomesParams{ConvoID: convo, UserDID: d.User, DeviceID: d.ID, Now: bucket(at)}); err != nil {
		return nil, fail("drop Welcomes", err)
	}
	_, err = tx.q.DropDeviceReports(ctx, db.DropDeviceReportsParams{ConvoID: convo, UserDID: d.User, DeviceID: d.ID})
	return left, fail("drop reports", err)
}

// SeeDevices notes that calls named devices on the day of at (UTC). Those that are not registered
// are passed over.
func (s *Store) SeeDevices(ctx context.Context, devices []Device, at time.Time) error {
	arg := db.SeeDevicesParams{SeenOn: clock.Day(at)}
	for _, d := range devices {
		arg.UserDids = append(arg.UserDids, string(d.User))
		arg.DeviceIds = append(arg.DeviceIds, string(d.ID))
	}
	return fail("see devices", s.q.SeeDevices(ctx, arg))
}
