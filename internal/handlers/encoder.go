package handlers

import (
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
	"mls-server/lexrt"
)

// StreamEncoder turns events of the log into those of the lexicon.
type StreamEncoder struct {
	// PadBytes pads the base64 of bytes.
	PadBytes bool
}

var _ stream.Encoder = StreamEncoder{}

// Message implements stream.Encoder.
func (e StreamEncoder) Message(cursor string, first mls.GroupID, m *store.Message) (name string, data lexrt.Response) {
	data = &mlsapi.StreamConvoEventsEventWrapper{Event: &mlsapi.StreamConvoEventsMessageEvent{
		Cursor: cursor, Message: messageView(first, m),
	}}
	if e.PadBytes {
		data = lexrt.Padded(data)
	}
	return "messageEvent", data
}

// Info implements stream.Encoder.
func (StreamEncoder) Info(cursor string, i *stream.Info) (name string, data lexrt.Response) {
	kind := mlsapi.StreamConvoEventsInfoEventKind(i.Kind)
	event := &mlsapi.StreamConvoEventsInfoEvent{
		Cursor: cursor, Info: i.Text, Kind: &kind,
		ConvoID: optional(i.Convo), DeviceID: optional(i.Device), RequestID: optional(i.Request), Epoch: (*int64)(i.Epoch), CommitID: optional(i.CommitID),
	}
	if i.User != "" {
		event.UserDID = &i.User
	}
	return "infoEvent", &mlsapi.StreamConvoEventsEventWrapper{Event: event}
}
