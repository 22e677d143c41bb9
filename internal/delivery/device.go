package delivery

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// maxExpiry is how long a package is handed out at most.
const maxExpiry = 90 * 24 * time.Hour

// Publication is a key package that a user publishes.
type Publication struct {
	User mls.DID
	// KeyPackage is base64 text, Suite the name of its cipher suite.
	KeyPackage, Suite string
	// Expires is when it is to be handed out no longer, nil for the end of its lifetime.
	Expires *time.Time
	At      time.Time
}

// Publishable is a verified key package with the time of its end.
type Publishable struct {
	*mls.PublishedKeyPackage

	row store.NewKeyPackage
}

// ReadPublication verifies the key package of a publication. Errors: mls.ErrInvalidCipherSuite,
// mls.ErrInvalidKeyPackage, mls.ErrExpirationTooFar.
func (s *Service) ReadPublication(p Publication) (Publishable, error) {
	suite, err := mls.ParseCipherSuite(p.Suite)
	if err != nil {
		return Publishable{}, mls.ErrInvalidCipherSuite
	}
	kp, err := s.KeyPackagePolicy.ReadText(p.KeyPackage, -1, mls.KeyPackageOwner{DID: p.User, Suite: suite}, p.At)
	if err != nil {
		return Publishable{}, err
	}
	row := newKeyPackage(kp, p.At)
	if p.Expires != nil {
		switch {
		case p.Expires.After(p.At.Add(maxExpiry)):
			return Publishable{}, mls.ErrExpirationTooFar
		case !p.Expires.After(p.At):
			return Publishable{}, mls.InvalidKeyPackage(mls.CodeExpired)
		case p.Expires.Before(row.ExpiresAt):
			row.ExpiresAt = *p.Expires
		}
	}
	return Publishable{kp, row}, nil
}

// PublishKeyPackage stores a verified key package of a user. Errors: mls.ErrInvalidKeyPackage,
// mls.ErrTooManyKeyPackages.
func (s *Service) PublishKeyPackage(ctx context.Context, tx *store.Tx, user mls.DID, p Publishable, at time.Time) error {
	owner, err := deviceOf(ctx, tx, user, p.PublishedKeyPackage)
	if err != nil {
		return err
	}
	return single(tx.PublishKeyPackages(ctx, owner, []store.NewKeyPackage{p.row}, s.MaxKeyPackages, at))
}

// deviceOf tells whose package it is: the device that the credential names, which must be
// registered, else the device whose key signed it, else the user's without a device.
func deviceOf(ctx context.Context, tx *store.Tx, did mls.DID, kp *mls.PublishedKeyPackage) (store.Device, error) {
	devices, err := tx.ListDevices(ctx, did)
	if err != nil {
		return store.Device{}, err
	}
	for _, d := range devices {
		if string(d.ID) == kp.Device || (kp.Device == "" && string(d.SignatureKey) == string(kp.KeyPackage.Leaf.SignatureKey)) {
			return d.Device, nil
		}
	}
	if kp.Device != "" {
		return store.Device{}, mls.InvalidKeyPackage(mls.CodeIdentityMismatch)
	}
	return store.Device{User: did}, nil
}

// newKeyPackage is the row of a verified key package.
func newKeyPackage(kp *mls.PublishedKeyPackage, at time.Time) store.NewKeyPackage {
	row := store.NewKeyPackage{
		Ref: kp.Ref, InitKey: kp.KeyPackage.InitKey, CipherSuite: kp.Suite, Bytes: kp.Bytes, ExpiresAt: kp.NotAfter, LastResort: kp.LastResort,
	}
	if limit := at.Add(maxExpiry); row.ExpiresAt.After(limit) {
		row.ExpiresAt = limit
	}
	return row
}

// single takes the index out of an error about the only key package of a request.
func single(err error) error {
	if e, ok := errors.AsType[*mls.Error](err); ok && e.Kind == mls.ErrInvalidKeyPackage {
		return mls.InvalidKeyPackage(e.Code)
	}
	return err
}

// Registration is a device with its first key packages.
type Registration struct {
	User         mls.DID
	Name         string
	SignatureKey []byte
	Packages     []PackageText
	At           time.Time
}

// PackageText is a key package as a request brings it: base64 text and the name of its cipher
// suite.
type PackageText struct {
	KeyPackage, Suite string
	// Expires is when it is to be handed out no longer, nil for the end of its lifetime.
	Expires *time.Time
}

// RegisterDevice stores a device with its first key packages, and asks the members of the user's
// conversations to add it. Errors: mls.ErrInvalidKeyPackage, mls.ErrDuplicatePublicKey,
// mls.ErrTooManyDevices, and mls.ErrTooManyKeyPackages, which undoes the packages and not the
// registration.
func (s *Service) RegisterDevice(ctx context.Context, r Registration) (store.Registered, error) {
	id := uuid.NewString()
	row := store.Registration{
		Device: store.UserDevice{
			Device: store.Device{User: r.User, ID: mls.DeviceID(id)}, Name: r.Name, SignatureKey: r.SignatureKey, MLSDID: string(r.User) + "#" + id,
		},
		MaxDevices: s.MaxDevices, MaxPackages: s.MaxKeyPackages, At: r.At,
	}
	// All packages are verified before anything is stored.
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
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		var err error
		if registered, err = tx.RegisterDevice(ctx, row); err != nil {
			return err
		}
		for i, kp := range packages {
			// A credential may name the device once it has an id, and no other.
			if kp.Device != "" && kp.Device != string(registered.Device.ID) {
				return mls.InvalidKeyPackageAt(i, mls.CodeIdentityMismatch)
			}
		}
		return nil
	})
	if err == nil && registered.TooManyPackages {
		err = mls.Detailed(mls.ErrTooManyKeyPackages, "the device is registered, none of its key packages was kept")
	}
	return registered, err
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
