package handlers

import (
	"context"
	"errors"
	"slices"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// GetAdminStats counts reports and removals from rows, for a conversation or for the whole service.
func (h *Handlers) GetAdminStats(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetAdminStatsParams) (*mlsapi.GetAdminStatsOutput, error) {
	var convo store.Standing
	if params.ConvoID == nil {
		if !slices.Contains(h.Config.SuperadminDIDs, caller.DID) {
			return nil, mls.ErrNotAuthorized
		}
	} else {
		var err error
		if convo, err = h.adminOf(ctx, *params.ConvoID, caller.DID); err != nil {
			return nil, err
		}
	}
	var since time.Time
	if params.Since != nil {
		since = params.Since.Time()
	}
	now := h.Clock.Now()
	stats, err := h.Store.CountModeration(ctx, convo.ID, since)
	if err != nil {
		return nil, err
	}
	return &mlsapi.GetAdminStatsOutput{Stats: statsView(stats), GeneratedAt: datetime(now), ConvoID: optional(convo.FirstGroup)}, nil
}

// adminOf is RequireAdmin with the name that statistics declare for those who are not admins.
func (h *Handlers) adminOf(ctx context.Context, convoID string, did mls.DID) (store.Standing, error) {
	key, err := mls.ParseConvoKey(convoID)
	if err != nil {
		return store.Standing{}, err
	}
	convo, err := h.Store.RequireAdmin(ctx, key, did)
	if errors.Is(err, mls.ErrNotMember) || errors.Is(err, mls.ErrNotAdmin) {
		return store.Standing{}, mls.ErrNotAuthorized
	}
	return convo, err
}
