package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// GetConvos lists the caller's active conversations, latest activity first, then its invitations.
func (h *Handlers) GetConvos(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetConvosParams) (*mlsapi.GetConvosOutput, error) {
	var after store.ConvoCursor
	if params.Cursor != nil {
		var err error
		if after, err = parseConvoCursor(*params.Cursor); err != nil {
			return nil, err
		}
	}
	page, err := h.Store.ListConvos(ctx, caller.DID, convoFilter(params.State), after, int(params.Limit))
	if err != nil {
		return nil, err
	}
	out := &mlsapi.GetConvosOutput{Conversations: convoViews(&page, caller.DID, h.now())}
	if page.Next != nil {
		cursor := convoCursor(*page.Next)
		out.Cursor = &cursor
	}
	return out, nil
}

// convoFilter reads which conversations are asked for. A state that is not known is no filter.
func convoFilter(state *mlsapi.GetConvosParamsState) store.ConvoFilter {
	if state == nil {
		return store.AllConvos
	}
	switch *state {
	case mlsapi.GetConvosParamsStateActive:
		return store.ActiveConvos
	case mlsapi.GetConvosParamsStateInvited:
		return store.InvitedConvos
	default:
		return store.AllConvos
	}
}
