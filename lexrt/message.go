package lexrt

import (
	"context"
	"errors"
	"strconv"
)

// Subscribed sends the messages of a subscription, each as one message of a WebSocket. It is used
// by one goroutine at a time. What it is given is neither changed nor kept.
type Subscribed interface {
	// Send encodes and sends one message. The type is the full one, for example
	// "com.example.subscribe#note".
	Send(typ string, message Response) error
	// Frames sends messages that were encoded before, in order; see lexcbor.AppendMessage. So many
	// connections may send the same bytes.
	Frames(frames ...[]byte) error
	// LongFrame sends a large one piece by piece, each of which has the full time of a write. It
	// asks before each whether to go on; when not, the connection ends, and the message with it.
	LongFrame(frame []byte, goOn func() bool) error
}

// SubscriptionEndpoint reads the parameters of a subscription. What it returns is called when they
// are valid and the client is connected. It serves until the subscription ends or ctx does, which
// the client's leaving ends. Its error is sent to the client as an error frame when it is an
// *Error; a *CloseError, or nil, ends the connection in order.
type SubscriptionEndpoint func(req *Request) (serve func(ctx context.Context, out Subscribed) error, err error)

// CloseError ends a subscription in order, with a code of the WebSocket protocol (RFC 6455,
// section 7.4) and a reason of at most 123 bytes.
type CloseError struct {
	Code   int
	Reason string
}

// Error says how the connection is closed.
func (c *CloseError) Error() string {
	return "the subscription is closed with code " + strconv.Itoa(c.Code) + ": " + c.Reason
}

// SubscriptionRegistrar is the Registrar of a package with subscriptions.
type SubscriptionRegistrar interface {
	Registrar
	HandleSubscription(m *Method, e SubscriptionEndpoint)
}

// ErrNoMessage is returned when a nil message is sent.
var ErrNoMessage = errors.New("lexrt: there is no message to send")

// ErrUnknownMessage is returned for a message of a type that the closed union of a subscription
// does not have. Receivers pass over such messages.
var ErrUnknownMessage = errors.New("lexrt: the subscription has no message of this type")

// UnmarshalMessage decodes the body of a subscription's message, which has no $type, into the
// member of the union that has the type. A message of another type is ErrUnknownMessage where the
// union is closed, and kept as it came, with its $type, where it is open.
func UnmarshalMessage[U any](typ string, src []byte, u *Union[U]) (U, error) {
	var none U
	for i := range u.Variants {
		if typ != u.Variants[i].Type {
			continue
		}
		v := u.Variants[i].New()
		err := decodeValue(src, "message", option{}, &v, func(f *Fields, v *U) { f.decodeVariant(any(*v)) })
		if err != nil {
			return none, err
		}
		return v, nil
	}
	if u.Unknown == nil {
		return none, ErrUnknownMessage
	}
	raw, err := RawMessage(typ, src)
	if err != nil {
		return none, err
	}
	return u.Unknown(*raw), nil
}

// RawMessage is a message that nothing is known of but its type.
func RawMessage(typ string, src []byte) (*RawUnion, error) {
	var body Raw
	if err := decodeValue(src, "message", option{}, &body, UnknownValue); err != nil {
		return nil, err
	}
	text := append(AppendString([]byte(`{"$type":`), &typ), ',')
	for name, value := range members(body) {
		if name == "$type" {
			continue
		}
		text = append(AppendString(text, &name), ':')
		text = append(append(text, value...), ',')
	}
	return &RawUnion{Type: typ, JSON: closeObject(text)}, nil
}
