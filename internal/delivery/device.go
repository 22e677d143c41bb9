package delivery

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Registration is a device with its first key packages.
type Registration struct {
	User mls.DID
	Name string
	// ID is the id that its client chose, a UUID, "" for none; UUID is what the client knows it by.
	ID, UUID     string
	SignatureKey []byte
	Packages     []PackageText
	// Replaces is the device that goes when this one comes, "" for none.
	Replaces mls.DeviceID
	// Proof is a signature by a device of old, nil for none.
	Proof []byte
	At    time.Time
}

// PackageText is a key package as a request brings it: base64 text and the name of its cipher
// suite.
type PackageText struct {
	KeyPackage, Suite string
	// Expires is when it is to be handed out no longer, nil for the end of its lifetime.
	Expires *time.Time
}

// RegisterDevice stores a device with its first key packages, and asks the members of the user's
// conversations to add it. One that is registered already stays what it is. Errors:
// mls.ErrInvalidInput, mls.ErrInvalidKeyPackage, mls.ErrDuplicatePublicKey, mls.ErrTooManyDevices,
// mls.ErrDeviceIDTaken, mls.ErrDeviceNotFound, mls.ErrDeviceProofRequired,
// mls.ErrRateLimitExceeded: each package is counted, and mls.ErrTooManyKeyPackages, which undoes
// the packages and not the registration.
func (s *Service) RegisterDevice(ctx context.Context, r Registration) (store.Registered, error) {
	if r.SignatureKey == nil || s.KeyPackagePolicy.CheckSignatureKey(r.SignatureKey) != nil {
		return store.Registered{}, mls.InvalidInput("/signaturePublicKey", "must be the public key of a signature scheme of MLS, not of small order")
	}
	id, err := r.deviceID()
	if err != nil {
		return store.Registered{}, err
	}
	row := store.Registration{
		Device: store.UserDevice{
			Device: store.Device{User: r.User, ID: id}, Name: r.Name, UUID: r.UUID, SignatureKey: r.SignatureKey, MLSDID: string(r.User) + "#" + string(id),
		},
		MaxDevices: s.MaxDevices, MaxPackages: s.MaxKeyPackages, At: r.At,
	}
	// All packages are verified before anything is stored, and paid for before that.
	if len(r.Packages) > 0 {
		if err := s.takeAtMost(ctx, "publishedPackages", string(r.User), len(r.Packages)); err != nil {
			return store.Registered{}, err
		}
	}
	packages, err := s.readPackages(r)
	if err != nil {
		return store.Registered{}, err
	}
	for i, kp := range packages {
		p := newKeyPackage(kp, r.At)
		if expires := r.Packages[i].Expires; expires != nil && expires.Before(p.ExpiresAt) {
			p.ExpiresAt = *expires
		}
		row.Packages = append(row.Packages, p)
	}
	var registered store.Registered
	var replaced *store.Device
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		var err error
		registered, replaced, err = s.register(ctx, tx, &r, row, packages)
		return err
	})
	if err == nil && replaced != nil {
		s.retireSoon(ctx, *replaced, r.At)
	}
	if err == nil && registered.TooManyPackages {
		err = mls.Detailed(mls.ErrTooManyKeyPackages, "the device is registered, none of its key packages was kept")
	}
	return registered, err
}

// deviceID is the id that the client chose, or a new one.
func (r *Registration) deviceID() (mls.DeviceID, error) {
	if r.ID == "" {
		return mls.DeviceID(uuid.NewString()), nil
	}
	id, err := uuid.Parse(r.ID)
	if err != nil || len(r.ID) != 36 {
		return "", mls.InvalidInput("/deviceId", "must be a UUID of 36 characters")
	}
	return mls.DeviceID(id.String()), nil
}

// register is what RegisterDevice does under the lock of the user. replaced is the device that
// went.
func (s *Service) register(ctx context.Context, tx *store.Tx, r *Registration, row store.Registration, packages []*mls.PublishedKeyPackage) (registered store.Registered, replaced *store.Device, err error) {
	devices, err := tx.LockDevices(ctx, r.User)
	if err != nil {
		return registered, nil, err
	}
	known := slices.ContainsFunc(devices, func(d store.UserDevice) bool { return string(d.SignatureKey) == string(r.SignatureKey) })
	if !known {
		// What the user has published with this key before it was a device's, is the device's now.
		// They are read, and what is refused is, before conversations are held up.
		if row.Adopted, err = loosePackages(ctx, tx, r); err != nil {
			return registered, nil, err
		}
		if err := s.hasRoom(ctx, tx, r, row.Device.ID, devices); err != nil {
			return registered, nil, err
		}
	}
	// Commits lock their conversation before the key packages that they use.
	if row.Convos, err = tx.LockConvosOf(ctx, r.User); err != nil {
		return registered, nil, err
	}
	if !known && r.Replaces != "" {
		replaced = &store.Device{User: r.User, ID: r.Replaces}
		if _, err := tx.DeleteDevice(ctx, *replaced, r.At); err != nil {
			return registered, nil, err
		}
	}
	if registered, err = tx.RegisterDevice(ctx, row); err != nil {
		return registered, nil, err
	}
	for i, kp := range packages {
		// A credential may name the device once it has an id, and no other.
		if kp.Device != "" && kp.Device != string(registered.Device.ID) {
			return registered, nil, mls.InvalidKeyPackageAt(i, mls.CodeIdentityMismatch)
		}
	}
	return registered, replaced, nil
}

// hasRoom allows a device that is new, with or without one that it replaces.
func (s *Service) hasRoom(ctx context.Context, tx *store.Tx, r *Registration, id mls.DeviceID, devices []store.UserDevice) error {
	change, err := newDeviceChange(ctx, tx, mls.DeviceProof{User: r.User, Removed: r.Replaces, Added: r.SignatureKey}, devices, r.At)
	if err != nil {
		return err
	}
	change.signature = r.Proof
	if err := change.checkReturn(ctx, tx); err != nil {
		return err
	}
	if r.ID != "" {
		if taken, err := tx.IsDeviceIDTaken(ctx, id); err != nil || taken {
			return orKind(err, mls.ErrDeviceIDTaken)
		}
	}
	switch {
	case r.Replaces != "":
		return change.check()
	case len(devices) >= s.MaxDevices:
		return change.tooMany()
	}
	return nil
}

// orKind returns err, or what its absence means.
func orKind(err error, kind mls.Kind) error {
	if err != nil {
		return err
	}
	return kind
}

// loosePackages are those that a user has published without a device, signed by the key that
// registers: also those that somebody has claimed and not used yet.
func loosePackages(ctx context.Context, tx *store.Tx, r *Registration) ([]store.LoosePackage, error) {
	loose, err := tx.ListLoosePackages(ctx, r.User, r.SignatureKey)
	return slices.DeleteFunc(loose, func(p store.LoosePackage) bool {
		k, err := mls.ParseKeyPackage(p.Bytes)
		return err != nil || string(k.Leaf.SignatureKey) != string(r.SignatureKey)
	}), err
}

func (s *Service) readPackages(r Registration) ([]*mls.PublishedKeyPackage, error) {
	packages := make([]*mls.PublishedKeyPackage, len(r.Packages))
	for i, p := range r.Packages {
		suite, err := mls.ParseCipherSuite(p.Suite)
		if err != nil {
			return nil, mls.InvalidKeyPackageAt(i, mls.CodeUnsupportedSuite)
		}
		owner := mls.KeyPackageOwner{DID: r.User, Suite: suite, SignatureKey: r.SignatureKey}
		if p.Expires != nil && !p.Expires.After(r.At) {
			return nil, mls.InvalidKeyPackageAt(i, mls.CodeExpired)
		}
		if packages[i], err = s.KeyPackagePolicy.ReadText(p.KeyPackage, i, owner, r.At); err != nil {
			return nil, err
		}
	}
	return packages, nil
}
