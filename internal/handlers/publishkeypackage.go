package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/lexrt"
)

// PublishKeyPackage verifies and stores one key package.
func (h *Handlers) PublishKeyPackage(ctx context.Context, caller lexrt.Caller, in *mlsapi.PublishKeyPackageInput) (*mlsapi.PublishKeyPackageOutput, error) {
	p := delivery.Publication{User: caller.DID, KeyPackage: in.KeyPackage, Suite: string(in.CipherSuite), At: h.now()}
	if in.Expires != nil {
		expires := in.Expires.Time()
		p.Expires = &expires
	}
	if err := h.Delivery.PublishKeyPackage(ctx, p); err != nil {
		return nil, err
	}
	return &mlsapi.PublishKeyPackageOutput{}, nil
}
