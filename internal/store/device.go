package store

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// UserDevice is a registered device.
type UserDevice struct {
	Device
	Name         string
	SignatureKey []byte
	// MLSDID is the DID URL that names the device in credentials.
	MLSDID string
	// UUID is what its client knows it by, "" for nothing.
	UUID string
	// RegisteredAt is floored to 2 seconds; of devices that were registered long ago it is the day.
	RegisteredAt time.Time
	// SeenOn is the day (UTC) on which a call last named the device, that of its registration when
	// none has.
	SeenOn time.Time
}

// Registration is what RegisterDevice writes.
type Registration struct {
	// Device is a new device; its ID and MLSDID are used unless the key is
	// registered already.
	Device   UserDevice
	Packages []NewKeyPackage
	// Adopted are packages of the user's that become a new device's.
	Adopted []LoosePackage
	// Convos are the user's conversations, which the transaction has locked (LockConvosOf).
	Convos []mls.ConvoID
	// MaxDevices and MaxPackages are the caps of a user and of a device.
	MaxDevices, MaxPackages int
	At                      time.Time
}

// Registered is what became of a registration.
type Registered struct {
	Device UserDevice
	// Existing: the same user had registered the same key before.
	Existing bool
	// Waiting is the conversations that the device waits to be added to, by their first groups.
	Waiting []mls.GroupID
	// Welcomes are those that wait for the device, as many as go on a page.
	Welcomes []WaitingWelcome
	// TooManyPackages: none of the packages was kept, for the device would have more than its cap.
	TooManyPackages bool
}

// RegisterDevice registers a device with its key packages, asks the members of each of the user's
// conversations to add it and tells them by an event. The same user and key again is the same
// device. Errors: mls.ErrDuplicatePublicKey (the key is another user's), mls.ErrDeviceIDTaken,
// mls.ErrTooManyDevices, and mls.ErrInvalidKeyPackage as PublishKeyPackages has it. Packages that
// the device has published before are passed over, whatever has become of them: a repeat whose
// first answer was lost succeeds although others have claimed some meanwhile. Packages above the
// cap do not undo the registration.
func (tx *Tx) RegisterDevice(ctx context.Context, p Registration) (Registered, error) {
	if err := tx.q.LockUser(ctx, string(p.Device.User)); err != nil {
		return Registered{}, fail("lock user", err)
	}
	result, err := tx.findOrInsertDevice(ctx, p)
	if err != nil {
		return Registered{}, err
	}
	device := result.Device.Device
	err = tx.Savepoint(ctx, func() error { return tx.firstPackages(ctx, device, p, result.Existing) })
	if result.TooManyPackages = errors.Is(err, mls.ErrTooManyKeyPackages); err != nil && !result.TooManyPackages {
		return Registered{}, err
	}
	if err := tx.askToAdd(ctx, device, p); err != nil {
		return Registered{}, err
	}
	waiting, err := tx.q.ListDeviceRequests(ctx, device.User, device.ID)
	if err != nil {
		return Registered{}, fail("list device requests", err)
	}
	for _, row := range waiting {
		result.Waiting = append(result.Waiting, mls.GroupID(row.FirstGroupID))
	}
	result.Welcomes, err = tx.ListWaitingWelcomes(ctx, device, p.At)
	return result, err
}

// firstPackages keeps the packages of a registration. One that is repeated brings what became of
// the first one's packages meanwhile: used ones are known, old last resorts were withdrawn.
func (tx *Tx) firstPackages(ctx context.Context, device Device, p Registration, repeated bool) error {
	fresh, err := tx.unpublished(ctx, device, p.Packages, p.At, true)
	if err == nil && repeated {
		fresh, err = tx.leaveOutWithdrawn(ctx, fresh)
	}
	if err != nil {
		return err
	}
	return tx.addKeyPackages(ctx, device, fresh, p.MaxPackages, p.At)
}

func (tx *Tx) findOrInsertDevice(ctx context.Context, p Registration) (Registered, error) {
	known, err := tx.q.FindDeviceByKey(ctx, p.Device.SignatureKey)
	switch {
	case err == nil && known.UserDID != p.Device.User:
		return Registered{}, mls.ErrDuplicatePublicKey
	case err == nil:
		existing := deviceOf(known)
		existing.Name = p.Device.Name
		err := tx.q.RenameDevice(ctx, db.RenameDeviceParams{
			UserDID: known.UserDID, DeviceID: known.DeviceID, DeviceName: p.Device.Name, DeviceUuid: ptrIf(p.Device.UUID),
		})
		return Registered{Device: existing, Existing: true}, fail("rename device", err)
	case !isNotFound(err):
		return Registered{}, fail("find device", err)
	}
	devices, err := tx.ListDevices(ctx, p.Device.User)
	if err != nil {
		return Registered{}, err
	}
	if len(devices) >= p.MaxDevices {
		return Registered{}, mls.ErrTooManyDevices
	}
	p.Device.RegisteredAt, p.Device.SeenOn = bucket(p.At), day(p.At)
	err = tx.q.InsertDevice(ctx, db.InsertDeviceParams{
		UserDID: p.Device.User, DeviceID: p.Device.ID, DeviceName: p.Device.Name, SignatureKey: p.Device.SignatureKey, MLSDID: p.Device.MLSDID,
		DeviceUuid: ptrIf(p.Device.UUID), CreatedAt: day(p.At), RegisteredAt: &p.Device.RegisteredAt,
	})
	if err != nil {
		return Registered{}, fail("insert device", err, signatureKeyTaken, deviceIDTaken)
	}
	return Registered{Device: p.Device}, tx.AdoptKeyPackages(ctx, p.Device.Device, p.Adopted)
}

// askToAdd opens a request in each conversation of the user that the device is
// not in, and tells the members.
func (tx *Tx) askToAdd(ctx context.Context, device Device, p Registration) error {
	if len(p.Convos) == 0 {
		return nil
	}
	at := p.At
	arg := db.OpenDeviceRequestsParams{UserDID: device.User, DeviceID: device.ID, CreatedAt: bucket(at)}
	for _, convo := range p.Convos {
		arg.ConvoIds = append(arg.ConvoIds, string(convo))
		arg.Ids = append(arg.Ids, string(NewRequestID()))
	}
	opened, err := tx.q.OpenDeviceRequests(ctx, arg)
	if err != nil {
		return fail("open device requests", err, requestOpenAlready)
	}
	if len(opened) == 0 {
		return nil
	}
	told := db.AppendRequestEventsParams{Kind: int16(EventDevicePending), UserDID: device.User, DeviceID: device.ID, BucketTs: bucket(at)}
	for _, row := range opened {
		told.ConvoIds = append(told.ConvoIds, string(row.ConvoID))
		told.RequestIds = append(told.RequestIds, row.ID)
	}
	n, err := tx.q.AppendRequestEvents(ctx, told)
	return fail("append events", complete(n, len(opened), err))
}

// LockConvosOf locks the conversations that a user is in or invited to, in the order of their ids,
// so that two that lock several never wait for each other in a circle, and returns those that the
// user is a member of. It comes after the user's lock, and before anything that commits of these
// conversations lock.
func (tx *Tx) LockConvosOf(ctx context.Context, user mls.DID) ([]mls.ConvoID, error) {
	if err := tx.q.LockConversationsOf(ctx, user); err != nil {
		return nil, fail("lock conversations", err)
	}
	// What was read while the locks were waited for may be over.
	ids, err := tx.q.ListConversationsOf(ctx, user)
	return ids, fail("list conversations", err)
}

// ListDevices is the registered devices of users, in the order of their registration within each.
func (r *reader) ListDevices(ctx context.Context, users ...mls.DID) ([]UserDevice, error) {
	rows, err := r.q.ListDevices(ctx, texts(users))
	if err != nil {
		return nil, fail("list devices", err)
	}
	devices := make([]UserDevice, len(rows))
	for i, row := range rows {
		devices[i] = deviceOf(row)
	}
	return devices, nil
}

func deviceOf(row db.UserDevice) UserDevice {
	d := UserDevice{
		Device: Device{row.UserDID, row.DeviceID}, Name: row.DeviceName, SignatureKey: row.SignatureKey,
		MLSDID: row.MLSDID, UUID: orEmpty(row.DeviceUuid), RegisteredAt: row.CreatedAt, SeenOn: row.CreatedAt,
	}
	if row.RegisteredAt != nil {
		d.RegisteredAt = *row.RegisteredAt
	}
	if row.SeenOn != nil {
		d.SeenOn = *row.SeenOn
	}
	return d
}
