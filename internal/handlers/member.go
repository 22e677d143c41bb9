package handlers

import (
	"context"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// requireActive returns mls.ErrNotMember unless the user is in the conversation.
func requireActive(ctx context.Context, tx *store.Tx, convo mls.ConvoID, user mls.DID) error {
	active, err := tx.FindActive(ctx, convo, user)
	if err == nil && len(active) == 0 {
		return mls.ErrNotMember
	}
	return err
}

// adminChanged writes the audit row of a change of role, and tells the members.
func adminChanged(ctx context.Context, tx *store.Tx, a store.AdminAction) error {
	if err := tx.Audit(ctx, a); err != nil {
		return err
	}
	return tx.AppendEvents(ctx, a.ConvoID, a.At, store.NewEvent{Kind: store.EventAdminChanged, Audience: store.ToMembers, User: a.Target})
}
