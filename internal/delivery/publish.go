package delivery

import (
	"context"
	"errors"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// maxExpiry is how long a package is handed out at most.
	maxExpiry = 90 * 24 * time.Hour
	// expirySkew is by how much a client's clock may be ahead of ours when it asks for all of that.
	expirySkew = time.Hour
)

// PublishRequest is a key package that a user wants to publish.
type PublishRequest struct {
	User mls.DID
	PackageText
	// Device is the id of the device that the client says the package belongs to, "" when it does
	// not say.
	Device string
	// Identity is what the client says the credential's identity is, the user's DID alone or with a
	// device, "" when it does not say.
	Identity string
	At       time.Time
}

// Publishable is a verified key package with the time of its end.
type Publishable struct {
	*mls.PublishedKeyPackage

	row store.NewKeyPackage
}

// ReadPublication verifies the key package of a request. Errors: mls.ErrInvalidCipherSuite,
// mls.ErrInvalidKeyPackage, mls.ErrExpirationTooFar.
func (s *Service) ReadPublication(p PublishRequest) (Publishable, error) {
	suite, err := mls.ParseCipherSuite(p.Suite)
	if err != nil {
		return Publishable{}, mls.ErrInvalidCipherSuite
	}
	kp, err := s.KeyPackagePolicy.ReadText(p.KeyPackage, -1, mls.KeyPackageOwner{DID: p.User, Suite: suite}, p.At)
	if err != nil {
		return Publishable{}, err
	}
	if p.Identity != "" && p.Identity != string(kp.DID) && p.Identity != string(kp.KeyPackage.Leaf.Credential.Identity) {
		return Publishable{}, mls.InvalidKeyPackage(mls.CodeIdentityMismatch)
	}
	row := newKeyPackage(kp, p.At)
	if p.Expires != nil {
		switch {
		case p.Expires.After(p.At.Add(maxExpiry + expirySkew)):
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
	// The user's lock comes first: a device that is being deleted takes its packages with it.
	devices, err := tx.LockDevices(ctx, user)
	if err != nil {
		return err
	}
	owner, err := ownerFor(ctx, tx, user, devices, p.PublishedKeyPackage)
	if err != nil {
		return err
	}
	return single(tx.PublishKeyPackages(ctx, owner, []store.NewKeyPackage{p.row}, s.MaxKeyPackages, at))
}

// PublishEach publishes key packages that are judged each by itself, and returns for each that was
// not published why. The error is mls.ErrRateLimitExceeded: each is counted.
func (s *Service) PublishEach(ctx context.Context, user mls.DID, list []PublishRequest, at time.Time) ([]*mls.Error, error) {
	if err := s.takeAtMost(ctx, "publishedPackages", string(user), max(len(list), 1)); err != nil {
		return nil, err
	}
	read := make([]Publishable, len(list))
	unreadable := make([]*mls.Error, len(list))
	for i, p := range list {
		var err error
		if read[i], err = s.ReadPublication(p); err != nil {
			unreadable[i] = mls.AsError(err)
		}
	}
	var faults []*mls.Error
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		devices, err := tx.LockDevices(ctx, user)
		if err != nil {
			return err
		}
		faults = slices.Clone(unreadable)
		var packages []store.OwnedKeyPackage
		var places []int
		for i := range list {
			if faults[i] != nil {
				continue
			}
			owner, fault, err := owned(ctx, tx, devices, &list[i], read[i])
			switch {
			case err != nil:
				return err
			case fault != nil:
				faults[i] = fault
			default:
				packages, places = append(packages, store.OwnedKeyPackage{Owner: owner.ID, NewKeyPackage: read[i].row}), append(places, i)
			}
		}
		kept, err := tx.PublishEach(ctx, user, packages, s.MaxKeyPackages, at)
		if err != nil {
			return err
		}
		for n, i := range places {
			faults[i] = kept[n]
		}
		return nil
	})
	return faults, err
}

// owned tells whose package it is that a user wants to publish, or what is wrong with that.
func owned(ctx context.Context, tx *store.Tx, devices []store.UserDevice, p *PublishRequest, read Publishable) (owner store.Device, fault *mls.Error, err error) {
	owner, err = ownerFor(ctx, tx, p.User, devices, read.PublishedKeyPackage)
	if errors.Is(err, mls.ErrInvalidKeyPackage) {
		return owner, mls.AsError(err), nil
	}
	if err != nil {
		return owner, nil, err
	}
	if p.Device != "" && p.Device != string(owner.ID) {
		fault = mls.AsError(mls.InvalidKeyPackage(mls.CodeIdentityMismatch))
	}
	return owner, fault, nil
}

// ownerFor tells whose package it is: the device whose key signed it, which is the one that the
// credential names, if it names one. A user without devices may publish by any key that was not a
// deleted device's. The error is mls.ErrInvalidKeyPackage.
func ownerFor(ctx context.Context, tx *store.Tx, did mls.DID, devices []store.UserDevice, kp *mls.PublishedKeyPackage) (store.Device, error) {
	key := string(kp.KeyPackage.Leaf.SignatureKey)
	if i := slices.IndexFunc(devices, func(d store.UserDevice) bool { return string(d.SignatureKey) == key }); i >= 0 {
		if kp.Device != "" && kp.Device != string(devices[i].ID) {
			return store.Device{}, mls.InvalidKeyPackage(mls.CodeIdentityMismatch)
		}
		return devices[i].Device, nil
	}
	deleted, err := tx.FindDeletedKey(ctx, did, kp.KeyPackage.Leaf.SignatureKey)
	named := slices.ContainsFunc(devices, func(d store.UserDevice) bool { return string(d.ID) == kp.Device })
	switch {
	case err != nil:
		return store.Device{}, err
	case deleted != nil:
		return store.Device{}, mls.InvalidKeyPackage(mls.CodeDeletedDevice)
	case kp.Device != "" && !named:
		return store.Device{}, mls.InvalidKeyPackage(mls.CodeIdentityMismatch)
	case len(devices) > 0:
		return store.Device{}, mls.InvalidKeyPackage(mls.CodeSignatureKeyMismatch)
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
