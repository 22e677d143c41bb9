package handlers

import (
	"context"
	"errors"
	"time"

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
			return err
		}
		req.Convo = &key
	}
	err := h.Streams.Subscribe(ctx, req, out.Raw())
	switch {
	case errors.Is(err, stream.ErrTooSlow):
		return mls.ErrConsumerTooSlow
	case errors.Is(err, stream.ErrNoSuchConvo):
		if _, err := h.Store.RequireMember(ctx, *req.Convo, caller.DID); err != nil {
			return err
		}
		return mls.Busy("you have just joined the conversation", time.Second)
	}
	return err
}
