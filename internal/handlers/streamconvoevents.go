package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/stream"
	"mls-server/lexrt"
)

// StreamConvoEvents follows the caller's conversations. A client that connects
// again by itself repeats its URL, so the header's position is newer than the
// parameter's.
func (h *Handlers) StreamConvoEvents(ctx context.Context, caller lexrt.Caller, params *mlsapi.StreamConvoEventsParams, out lexrt.EventStream) error {
	req := stream.Request{User: caller.DID, Cursor: out.LastEventID()}
	if req.Cursor == "" && params.Cursor != nil {
		req.Cursor = *params.Cursor
	}
	if params.ConvoID != nil {
		key, err := mls.ParseConvoKey(*params.ConvoID)
		if err != nil {
			// The lexicon declares no error: malformed, unknown and foreign ids are answered alike.
			return stream.ErrNoSuchConvo
		}
		req.Convo = &key
	}
	return h.Streams.Serve(ctx, req, out)
}
