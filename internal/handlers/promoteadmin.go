package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// PromoteAdmin makes a member an admin, over all of its devices.
func (h *Handlers) PromoteAdmin(ctx context.Context, caller lexrt.Caller, in *mlsapi.PromoteAdminInput) (*mlsapi.PromoteAdminOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	change := delivery.RoleChange{Key: key, Actor: caller.DID, Target: in.TargetDID, At: h.now()}
	if err := h.Delivery.Promote(ctx, change); err != nil {
		return nil, err
	}
	return &mlsapi.PromoteAdminOutput{OK: true, PromotedAt: datetime(change.At)}, nil
}
