package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// DemoteAdmin takes the admin role from a member or from oneself.
func (h *Handlers) DemoteAdmin(ctx context.Context, caller lexrt.Caller, in *mlsapi.DemoteAdminInput) (*mlsapi.DemoteAdminOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	err = h.Delivery.Demote(ctx, delivery.RoleChange{Key: key, Actor: caller.DID, Target: in.TargetDID, At: h.now()})
	if err != nil {
		return nil, err
	}
	return &mlsapi.DemoteAdminOutput{OK: true}, nil
}
