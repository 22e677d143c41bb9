package handlers

import (
	"context"

	"mls-server/internal/blocks"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// HandleBlockChange verifies a block or unblock of the caller's and tells the
// admins of the conversations that both users are in.
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
	shared, err := h.Store.ListSharedConvos(ctx, in.BlockerDID, in.BlockedDID)
	if err != nil {
		return nil, err
	}
	out := &mlsapi.HandleBlockChangeOutput{AffectedConvos: make([]mlsapi.HandleBlockChangeAffectedConvo, len(shared))}
	for i, convo := range shared {
		if out.AffectedConvos[i], err = h.conflict(ctx, convo, claim); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// conflict writes what a block means for one conversation: an event for its
// admins, or, when it is gone, an audit row that the conflict is over.
func (h *Handlers) conflict(ctx context.Context, convo mls.ConvoID, c blocks.Claim) (mlsapi.HandleBlockChangeAffectedConvo, error) {
	at := h.now()
	view := mlsapi.HandleBlockChangeAffectedConvo{ConvoID: string(convo), Action: "no_action"}
	err := h.Store.InTx(ctx, func(tx *store.Tx) error {
		if _, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: convo}); err != nil {
			return err
		}
		if !c.Exists {
			return tx.Audit(ctx, store.AdminAction{
				ConvoID: convo, Actor: c.Blocker, Kind: store.ActionResolveBlockConflict, Target: c.Blocked, At: at,
			})
		}
		return tx.AppendEvents(ctx, convo, at, store.NewEvent{Kind: store.EventBlockConflict, Audience: store.ToAdmins, User: c.Blocker})
	})
	if err == nil && c.Exists {
		view.Action, view.AdminNotified, view.NotificationSentAt = "admin_notified", true, datetimePtr(&at)
	}
	return view, err
}
