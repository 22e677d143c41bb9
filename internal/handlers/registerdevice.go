package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// RegisterDevice stores a device with its first key packages, and asks the members of the user's
// conversations to add it.
func (h *Handlers) RegisterDevice(ctx context.Context, caller lexrt.Caller, in *mlsapi.RegisterDeviceInput) (*mlsapi.RegisterDeviceOutput, error) {
	r := delivery.Registration{
		User: caller.DID, Name: in.DeviceName, ID: orEmpty(in.DeviceID), UUID: orEmpty(in.DeviceUUID), SignatureKey: in.SignaturePublicKey,
		Replaces: mls.DeviceID(orEmpty(in.ReplaceDeviceID)), Proof: in.Proof, At: h.now(),
	}
	for _, p := range in.KeyPackages {
		r.Packages = append(r.Packages, packageText(p.KeyPackage, string(p.CipherSuite), p.Expires))
	}
	registered, err := h.Delivery.RegisterDevice(ctx, r)
	if err != nil {
		return nil, err
	}
	h.saw(caller, new(string(registered.Device.ID)))
	out := &mlsapi.RegisterDeviceOutput{
		DeviceID: string(registered.Device.ID), MLSDID: lexrt.URI(registered.Device.MLSDID),
		AutoJoinedConvos: make([]string, len(registered.Waiting)),
	}
	for i, convo := range registered.Waiting {
		out.AutoJoinedConvos[i] = string(convo)
	}
	for _, w := range registered.Welcomes {
		out.WelcomeMessages = append(out.WelcomeMessages, mlsapi.RegisterDeviceWelcomeMessageRef{
			ConvoID: string(w.FirstGroup), Welcome: mls.EncodeText(w.Bytes),
		})
	}
	return out, nil
}
