package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// GetConvos lists the caller's active conversations, latest activity first.
func (h *Handlers) GetConvos(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetConvosParams) (*mlsapi.GetConvosOutput, error) {
	var after store.ConvoCursor
	if params.Cursor != nil {
		var err error
		if after, err = parseConvoCursor(*params.Cursor); err != nil {
			return nil, err
		}
	}
	page, err := h.Store.ListConvos(ctx, caller.DID, after, int(params.Limit))
	if err != nil {
		return nil, err
	}
	out := &mlsapi.GetConvosOutput{Conversations: make([]mlsapi.DefsConvoView, len(page.Convos))}
	now := h.now()
	for i := range page.Convos {
		out.Conversations[i] = convoView(&page.Convos[i], caller.DID, now)
	}
	if page.Next != nil {
		cursor := listCursor(convoCursorPrefix, page.Next.ActivityAt, string(page.Next.ID))
		out.Cursor = &cursor
	}
	return out, nil
}
