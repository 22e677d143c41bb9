package handlers

import (
	"context"

	"github.com/google/uuid"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// RegisterDevice stores a device with its first key packages, and asks the
// members of the user's conversations to add it.
func (h *Handlers) RegisterDevice(ctx context.Context, caller lexrt.Caller, in *mlsapi.RegisterDeviceInput) (*mlsapi.RegisterDeviceOutput, error) {
	registration, named, err := h.registration(caller.DID, in)
	if err != nil {
		return nil, err
	}
	var registered store.Registered
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		var err error
		if registered, err = tx.RegisterDevice(ctx, registration); err != nil {
			return err
		}
		for i, device := range named {
			// A credential may name the device once it has an id, and no other.
			if device != "" && device != string(registered.Device.ID) {
				return mls.InvalidKeyPackageAt(i, mls.CodeIdentityMismatch)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	out := &mlsapi.RegisterDeviceOutput{
		DeviceID: string(registered.Device.ID), MLSDID: lexrt.URI(registered.Device.MLSDID),
		AutoJoinedConvos: make([]string, len(registered.Waiting)),
	}
	for i, convo := range registered.Waiting {
		out.AutoJoinedConvos[i] = string(convo)
	}
	for _, w := range registered.Welcomes {
		out.WelcomeMessages = append(out.WelcomeMessages, mlsapi.RegisterDeviceWelcomeMessageRef{
			ConvoID: string(w.ConvoID), Welcome: mls.EncodeText(w.Bytes),
		})
	}
	return out, nil
}

// registration verifies all key packages before anything is stored. The second
// result is the device that each one's credential names.
func (h *Handlers) registration(did mls.DID, in *mlsapi.RegisterDeviceInput) (store.Registration, []string, error) {
	now := h.Clock.Now()
	id := uuid.NewString()
	r := store.Registration{
		Device: store.UserDevice{
			Device: store.Device{User: did, ID: mls.DeviceID(id)}, Name: in.DeviceName,
			SignatureKey: in.SignaturePublicKey, MLSDID: string(did) + "#" + id,
		},
		MaxDevices: h.Config.MaxDevices, MaxPackages: h.Config.MaxKeyPackages, At: now,
	}
	var named []string
	for i, p := range in.KeyPackages {
		suite, err := mls.ParseCipherSuite(string(p.CipherSuite))
		if err != nil {
			return r, nil, mls.InvalidKeyPackageAt(i, mls.CodeUnsupportedSuite)
		}
		if p.DID != did {
			return r, nil, mls.InvalidKeyPackageAt(i, mls.CodeIdentityMismatch)
		}
		owner := mls.KeyPackageOwner{DID: did, Suite: suite, SignatureKey: in.SignaturePublicKey}
		kp, err := h.Config.KeyPackagePolicy.ReadText(p.KeyPackage, i, owner, now)
		if err != nil {
			return r, nil, err
		}
		r.Packages, named = append(r.Packages, newKeyPackage(kp, now)), append(named, kp.Device)
	}
	return r, named, nil
}
