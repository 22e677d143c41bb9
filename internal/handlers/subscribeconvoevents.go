package handlers

import (
	"context"
	"errors"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/stream"
	"mls-server/lexrt"
)

// SubscribeConvoEvents follows the caller's conversations over a WebSocket. The ticket was looked
// at by the runtime.
func (h *Handlers) SubscribeConvoEvents(ctx context.Context, caller lexrt.Caller, params *mlsapi.SubscribeConvoEventsParams, out *mlsapi.SubscribeConvoEventsStream) error {
	req := stream.Request{User: caller.DID}
	if params.Cursor != nil {
		req.Cursor = *params.Cursor
	}
	if params.ConvoID != nil {
		key, err := mls.ParseConvoKey(*params.ConvoID)
		if err != nil {
			// as in StreamConvoEvents
			return stream.ErrNoSuchConvo
		}
		req.Convo = &key
	}
	err := h.Streams.Subscribe(ctx, req, out.Raw())
	if errors.Is(err, stream.ErrTooSlow) {
		return mls.ErrConsumerTooSlow
	}
	return err
}
