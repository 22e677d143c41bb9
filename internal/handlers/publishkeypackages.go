package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// PublishKeyPackages verifies and stores key packages, each by itself.
func (h *Handlers) PublishKeyPackages(ctx context.Context, caller lexrt.Caller, in *mlsapi.PublishKeyPackagesInput) (*mlsapi.PublishKeyPackagesOutput, error) {
	now := h.now()
	list := make([]delivery.PublishRequest, len(in.KeyPackages))
	for i, p := range in.KeyPackages {
		list[i] = delivery.PublishRequest{
			User: caller.DID, PackageText: packageText(p.KeyPackage, string(p.CipherSuite), p.Expires),
			Device: orEmpty(p.DeviceID), Identity: orEmpty(p.CredentialDID), At: now,
		}
	}
	faults, err := h.Delivery.PublishEach(ctx, caller.DID, list, now)
	if err != nil {
		return nil, err
	}
	out := &mlsapi.PublishKeyPackagesOutput{}
	for i, fault := range faults {
		if fault == nil {
			out.Succeeded++
			h.saw(caller, in.KeyPackages[i].DeviceID)
			continue
		}
		public := PublicError(fault)
		out.Failed++
		out.Errors = append(out.Errors, mlsapi.PublishKeyPackagesBatchError{Index: int64(i), Error: public.Name + ": " + public.Message})
	}
	return out, nil
}

// packageText is a key package as requests bring it.
func packageText(text, suite string, expires *lexrt.Datetime) delivery.PackageText {
	p := delivery.PackageText{KeyPackage: text, Suite: suite}
	if expires != nil {
		at := expires.Time()
		p.Expires = &at
	}
	return p
}
