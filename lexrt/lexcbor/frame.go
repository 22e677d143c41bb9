package lexcbor

import (
	"errors"
	"fmt"
	"strings"

	"mls-server/lexrt"
)

// The kinds of frames of an event stream (https://atproto.com/specs/event-stream).
const (
	OpMessage int64 = 1
	OpError   int64 = -1
)

// Frame is one message of an event stream as it was received: a header and a body in DAG-CBOR, one
// behind the other.
type Frame struct {
	// Op is the kind of frame. Receivers pass over kinds that they do not know.
	Op int64
	// Type is the full type of a message, "" where it has none.
	Type string
	// Body is the JSON form of the body.
	Body []byte
}

// AppendMessage appends the frame of a message to dst. nsid is the subscription's, typ the full
// type of the message; the body has no $type. Errors: those of FromJSON, and a message that is no
// object.
func AppendMessage(dst []byte, nsid, typ string, message lexrt.Response) ([]byte, error) {
	body, err := readJSON(message.AppendJSON(nil))
	if err != nil {
		return nil, fmt.Errorf("lexcbor: %w", err)
	}
	object, ok := body.(map[string]any)
	if !ok {
		return nil, errors.New("lexcbor: a message must be an object")
	}
	delete(object, "$type")
	if fragment, own := strings.CutPrefix(typ, nsid+"#"); own {
		typ = "#" + fragment
	}
	return appendFrame(dst, map[string]any{"op": OpMessage, "t": typ}, object)
}

// AppendError appends the frame that ends a stream with an error.
func AppendError(dst []byte, e *lexrt.Error) ([]byte, error) {
	body := map[string]any{"error": e.Name}
	if e.Message != "" {
		body["message"] = e.Message
	}
	return appendFrame(dst, map[string]any{"op": OpError}, body)
}

func appendFrame(dst []byte, parts ...map[string]any) ([]byte, error) {
	for _, part := range parts {
		block, err := encoder.Marshal(part)
		if err != nil {
			return nil, fmt.Errorf("lexcbor: %w", err)
		}
		dst = append(dst, block...)
	}
	return dst, nil
}

// ReadFrame reads one frame of the subscription nsid. It does not insist on the one form of
// DAG-CBOR, since nothing is made of the bytes but values, and passes over members of the header
// that it does not know. Errors: the data is not two values of the data model, or something follows
// them; the header has no op, or its t is no text; the body is no object.
func ReadFrame(nsid string, data []byte) (Frame, error) {
	var header, body any
	rest, err := decoder.UnmarshalFirst(data, &header)
	if err == nil {
		err = decoder.Unmarshal(rest, &body)
	}
	if err != nil {
		return Frame{}, fmt.Errorf("lexcbor: %w", err)
	}
	head, isMap := header.(map[string]any)
	op, hasOp := head["op"].(int64)
	typ, isText := head["t"].(string)
	if _, hasType := head["t"]; !isMap || !hasOp || hasType && !isText {
		return Frame{}, errors.New("lexcbor: the header of a frame has an op, an integer, and may have a t, a text")
	}
	if _, isMap := body.(map[string]any); !isMap {
		return Frame{}, errors.New("lexcbor: the body of a frame must be an object")
	}
	src, err := appendJSON(nil, body)
	if err != nil {
		return Frame{}, fmt.Errorf("lexcbor: %w", err)
	}
	if strings.HasPrefix(typ, "#") {
		typ = nsid + typ
	}
	return Frame{Op: op, Type: typ, Body: src}, nil
}
