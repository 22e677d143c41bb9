package handlers

import (
	"context"

	"mls-server/internal/blocks"
	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// HandleBlockChange verifies a block or unblock of the caller's, and has the admins of the
// conversations that both users are in told of it.
func (h *Handlers) HandleBlockChange(ctx context.Context, caller lexrt.Caller, in *mlsapi.HandleBlockChangeInput) (*mlsapi.HandleBlockChangeOutput, error) {
	claim := blocks.Claim{Blocker: in.BlockerDID, Blocked: in.BlockedDID, Exists: in.Action == "created"}
	switch {
	case in.BlockerDID != caller.DID:
		return nil, mls.ErrNotAuthorized
	case in.Action != "created" && in.Action != "removed":
		return nil, mls.InvalidInput("/action", "must be created or removed")
	case in.BlockURI != nil:
		claim.URI = *in.BlockURI
	}
	if err := h.Blocks.Verify(ctx, claim); err != nil {
		return nil, err
	}
	now := h.now()
	effects, err := h.Delivery.ChangeBlock(ctx, delivery.BlockChange{
		BlockPair: store.BlockPair{Blocker: in.BlockerDID, Blocked: in.BlockedDID}, Exists: claim.Exists, SeenAt: now, At: now,
	})
	if err != nil {
		return nil, err
	}
	out := &mlsapi.HandleBlockChangeOutput{AffectedConvos: make([]mlsapi.HandleBlockChangeAffectedConvo, len(effects))}
	for i, e := range effects {
		out.AffectedConvos[i] = affectedConvo(e)
	}
	return out, nil
}
