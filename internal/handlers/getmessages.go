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
	switch {
	case params.SinceSeq != nil && params.SinceMessage != nil:
		return nil, mls.InvalidInput("/sinceSeq", "must not stand beside sinceMessage")
	case params.SinceSeq != nil:
		read.AfterSeq = mls.Seq(*params.SinceSeq)
	case params.SinceMessage != nil:
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
	out := &mlsapi.GetMessagesOutput{
		Messages: make([]mlsapi.DefsMessageView, len(page.Messages)), LastSeq: new(int64(page.LastSeq())),
	}
	for i := range page.Messages {
		out.Messages[i] = messageView(page.FirstGroup, &page.Messages[i])
	}
	if params.SinceSeq != nil {
		out.GapInfo = gapInfo(&page)
	}
	if page.More {
		cursor := messageCursor(page.ConvoID, page.LastSeq())
		out.Cursor = &cursor
	}
	return out, nil
}
