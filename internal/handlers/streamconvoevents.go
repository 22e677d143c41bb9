package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
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

// StreamEncoder turns events of the log into those of the lexicon.
type StreamEncoder struct{}

var _ stream.Encoder = StreamEncoder{}

// Message implements stream.Encoder.
func (StreamEncoder) Message(cursor string, m *store.Message) (name string, data lexrt.Response) {
	return "messageEvent", &mlsapi.StreamConvoEventsEventWrapper{Event: &mlsapi.StreamConvoEventsMessageEvent{
		Cursor: cursor, Message: messageView(m),
	}}
}

// Info implements stream.Encoder.
func (StreamEncoder) Info(cursor string, i *stream.Info) (name string, data lexrt.Response) {
	kind := mlsapi.StreamConvoEventsInfoEventKind(i.Kind)
	event := &mlsapi.StreamConvoEventsInfoEvent{
		Cursor: cursor, Info: i.Text, Kind: &kind,
		ConvoID: optional(i.ConvoID), DeviceID: optional(i.Device), RequestID: optional(i.Request), Epoch: (*int64)(i.Epoch),
	}
	if i.User != "" {
		event.UserDID = &i.User
	}
	return "infoEvent", &mlsapi.StreamConvoEventsEventWrapper{Event: event}
}
