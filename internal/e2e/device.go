package e2e

import (
	"testing"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// NewDevice is a device of a user that is not registered yet.
func (u *User) NewDevice() *Device {
	return &Device{User: u, Client: mlstest.NewClient(u.DID, "", suite)}
}

// RegistrationInput is a request to register the device with n key packages.
func (d *Device) RegistrationInput(n int) *mlsapi.RegisterDeviceInput {
	return &mlsapi.RegisterDeviceInput{
		DeviceName: "Phone of " + string(d.DID[len(d.DID)-6:]), SignaturePublicKey: d.Client.SignatureKey, KeyPackages: d.KeyPackages(n),
	}
}

// Devices lists the user's devices.
func (u *User) Devices(tb testing.TB) []mlsapi.ListDevicesDeviceInfo {
	tb.Helper()
	var out mlsapi.ListDevicesOutput
	u.Get(tb, mlsapi.MethodListDevices, &out).OK(tb)
	return out.Devices
}

// Delete deletes a device of the user. proof is nil for none.
func (u *User) Delete(tb testing.TB, d *Device, proof []byte) Answer {
	tb.Helper()
	return u.Post(tb, mlsapi.MethodDeleteDevice, &mlsapi.DeleteDeviceInput{DeviceID: d.ID, Proof: proof}, nil)
}

// Prove is the device's signature for a change: removed goes, added comes; nil for none.
func (d *Device) Prove(removed, added *Device) []byte {
	p := mls.DeviceProof{User: d.DID}
	if removed != nil {
		p.Removed = mls.DeviceID(removed.ID)
	}
	if added != nil {
		p.Added = added.Client.SignatureKey
	}
	return d.Client.Prove(p)
}
