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

// SubscriptionEncoder turns events of the log into messages of the subscription.
type SubscriptionEncoder struct{}

var _ stream.Encoder = SubscriptionEncoder{}

// Message implements stream.Encoder.
func (SubscriptionEncoder) Message(cursor string, first mls.GroupID, m *store.Message) (name string, data lexrt.Response) {
	return typed(&mlsapi.SubscribeConvoEventsMessageEvent{Cursor: cursor, Message: messageView(first, m)})
}

// Info implements stream.Encoder. What released clients have a type for comes as that.
func (SubscriptionEncoder) Info(cursor string, i *stream.Info) (name string, data lexrt.Response) {
	device := optional(i.Device)
	switch {
	case i.Event == store.EventDevicePending && device != nil && i.Request != "":
		return typed(&mlsapi.SubscribeConvoEventsNewDeviceEvent{
			Cursor: cursor, ConvoID: string(i.Convo), UserDID: i.User, DeviceID: *device,
			DeviceCredentialDID: string(i.User) + "#" + string(i.Device), PendingAdditionID: string(i.Request),
		})
	case i.Event == store.EventRejoinRequested:
		return typed(&mlsapi.SubscribeConvoEventsReadditionRequestedEvent{
			Cursor: cursor, ConvoID: string(i.Convo), UserDID: i.User, RequestedAt: datetime(i.At), DeviceID: device, RequestID: optional(i.Request),
		})
	case (i.Event == store.EventMemberJoined || i.Event == store.EventMemberLeft) && i.Epoch != nil:
		action := mlsapi.SubscribeConvoEventsMembershipChangeEventActionJoined
		if i.Event == store.EventMemberLeft {
			action = mlsapi.SubscribeConvoEventsMembershipChangeEventActionLeft
		}
		return typed(&mlsapi.SubscribeConvoEventsMembershipChangeEvent{
			Cursor: cursor, ConvoID: string(i.Convo), DID: i.User, Action: action, Epoch: int64(*i.Epoch), DeviceID: device,
		})
	}
	kind := mlsapi.SubscribeConvoEventsInfoEventKind(i.Kind)
	event := &mlsapi.SubscribeConvoEventsInfoEvent{
		Cursor: cursor, Info: i.Text, Kind: &kind,
		ConvoID: optional(i.Convo), DeviceID: device, RequestID: optional(i.Request), Epoch: (*int64)(i.Epoch), CommitID: optional(i.CommitID),
	}
	if i.User != "" {
		event.UserDID = &i.User
	}
	return typed(event)
}

// message is a member of the subscription's union.
type message interface {
	lexrt.Typed
	lexrt.Response
}

// typed is a message with its full type.
func typed(m message) (name string, data lexrt.Response) {
	return m.LexType(), m
}
