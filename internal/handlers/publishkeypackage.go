package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// PublishKeyPackage verifies and stores one key package.
func (h *Handlers) PublishKeyPackage(ctx context.Context, caller lexrt.Caller, in *mlsapi.PublishKeyPackageInput) (*mlsapi.PublishKeyPackageOutput, error) {
	p := delivery.PublishRequest{User: caller.DID, PackageText: packageText(in.KeyPackage, string(in.CipherSuite), in.Expires), At: h.now()}
	var verified delivery.Publishable
	r := request{
		method: mlsapi.MethodPublishKeyPackage, caller: caller.DID, key: in.IdempotencyKey, input: in,
		prepare: func(context.Context) (err error) {
			verified, err = h.Delivery.ReadPublication(p)
			return err
		},
	}
	return once(ctx, h, r, func(tx *store.Tx) (*mlsapi.PublishKeyPackageOutput, error) {
		return &mlsapi.PublishKeyPackageOutput{}, h.Delivery.PublishKeyPackage(ctx, tx, caller.DID, verified, p.At)
	})
}
