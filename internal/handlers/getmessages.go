package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// GetMessages lists messages by ascending seq, from the caller's join on.
func (h *Handlers) GetMessages(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetMessagesParams) (*mlsapi.GetMessagesOutput, error) {
	key, err := mls.ParseConvoKey(params.ConvoID)
	if err != nil {
		return nil, err
	}
	read := store.ReadParams{Key: key, Reader: caller.DID, Limit: int(params.Limit)}
	if params.SinceMessage != nil {
		since, err := parsePosition(*params.SinceMessage)
		if err != nil {
			return nil, err
		}
		read.After, read.AfterSeq, read.AfterConvo = since.message, since.seq, since.convo
	}
	page, err := h.Store.ReadMessages(ctx, read)
	if err != nil {
		return nil, err
	}
	out := &mlsapi.GetMessagesOutput{Messages: make([]mlsapi.DefsMessageView, len(page.Messages)), LastSeq: (*int64)(&page.LastSeq)}
	for i := range page.Messages {
		out.Messages[i] = messageView(&page.Messages[i])
	}
	if page.More {
		cursor := messageCursor(page.ConvoID, page.Messages[len(page.Messages)-1].Seq)
		out.Cursor = &cursor
	}
	return out, nil
}
