package handlers

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// maxExpiry is how long a package is handed out at most.
const maxExpiry = 90 * 24 * time.Hour

// PublishKeyPackage verifies and stores one key package.
func (h *Handlers) PublishKeyPackage(ctx context.Context, caller lexrt.Caller, in *mlsapi.PublishKeyPackageInput) (*mlsapi.PublishKeyPackageOutput, error) {
	suite, err := mls.ParseCipherSuite(string(in.CipherSuite))
	if err != nil {
		return nil, mls.ErrInvalidCipherSuite
	}
	now := h.Clock.Now()
	kp, err := h.Config.KeyPackagePolicy.ReadText(in.KeyPackage, -1, mls.KeyPackageOwner{DID: caller.DID, Suite: suite}, now)
	if err != nil {
		return nil, err
	}
	row := newKeyPackage(kp, now)
	if in.Expires != nil {
		expires := in.Expires.Time()
		switch {
		case expires.After(now.Add(maxExpiry)):
			return nil, mls.ErrExpirationTooFar
		case !expires.After(now):
			return nil, mls.InvalidKeyPackage(mls.CodeExpired)
		case expires.Before(row.ExpiresAt):
			row.ExpiresAt = expires
		}
	}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		owner, err := deviceOf(ctx, tx, caller.DID, kp)
		if err != nil {
			return err
		}
		return single(tx.PublishKeyPackages(ctx, owner, []store.NewKeyPackage{row}, h.Config.MaxKeyPackages, now))
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.PublishKeyPackageOutput{}, nil
}

// deviceOf tells whose package it is: the device that the credential names,
// which must be registered, else the device whose key signed it, else the
// user's without a device.
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
func newKeyPackage(kp *mls.PublishedKeyPackage, now time.Time) store.NewKeyPackage {
	row := store.NewKeyPackage{
		Ref: []byte(kp.Ref), InitKey: kp.KeyPackage.InitKey, CipherSuite: kp.Suite, Bytes: kp.Bytes, ExpiresAt: kp.NotAfter, LastResort: kp.LastResort,
	}
	if limit := now.Add(maxExpiry); row.ExpiresAt.After(limit) {
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
