package stream

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"mls-server/internal/store"
	"mls-server/lexrt"
)

// format is how frames are written. All streams of a format share the bytes of an event.
type format uint8

// The formats: Server-Sent Events, and event-stream frames of XRPC over WebSockets.
const (
	sse format = iota
	socket
	formats
)

// doorNames are what the formats are called in metrics.
var doorNames = [formats]string{sse: "sse", socket: "websocket"}

// Doors are the ways to a client, as an Observer is told of them.
func Doors() []string { return doorNames[:] }

func (f format) String() string { return doorNames[f] }

// door is the way to one client, and all in which the two ways differ.
type door interface {
	format() format
	// proxied says that the stream may run through an atproto proxy, and rolls over.
	proxied() bool
	// frames sends frames in order, long a large one piece by piece while goOn says so.
	frames(frames ...[]byte) error
	long(frame []byte, goOn func() bool) error
	// greet is the frame with which a stream begins at a cursor.
	greet(h *Hub, at store.LogCursor) []byte
	// hold is what a silent client is sent; moved says that its cursor is another one than it was
	// told last.
	hold(h *Hub, at store.LogCursor, moved bool) []byte
	// end ends the stream, whose last frame says why, with the error for the runtime.
	end(h *Hub, at store.LogCursor, kind InfoKind) error
}

// eventDoor sends Server-Sent Events.
type eventDoor struct{ out lexrt.EventStream }

func (eventDoor) format() format { return sse }

func (d eventDoor) proxied() bool { return !d.out.Direct() }

func (d eventDoor) frames(frames ...[]byte) error { return d.out.Frames(frames...) }

// long writes pieces, each of which has the full time of a write. One that is given up ends in the
// middle of a frame, which clients throw away.
func (d eventDoor) long(frame []byte, goOn func() bool) error {
	for len(frame) > 0 {
		if !goOn() {
			return errEnded
		}
		n := min(pieceBytes, len(frame))
		if err := d.out.Frames(frame[:n]); err != nil {
			return err
		}
		frame = frame[n:]
	}
	return nil
}

// greet tells how long to wait before coming back, and where to resume when the stream breaks
// before its first event.
func (eventDoor) greet(h *Hub, at store.LogCursor) []byte {
	wait := minReconnect + rand.IntN(maxReconnect-minReconnect) //nolint:gosec // spreads load, hides nothing
	return lexrt.AppendFrame(fmt.Appendf(nil, "retry: %d\n", wait), h.cursor(at), "", nil)
}

func (eventDoor) hold(h *Hub, at store.LogCursor, moved bool) []byte {
	frame := append(make([]byte, 0, 48), ": keep-alive\n"...)
	if moved {
		return lexrt.AppendFrame(frame, h.cursor(at), "", nil)
	}
	return append(frame, '\n')
}

func (d eventDoor) end(h *Hub, at store.LogCursor, kind InfoKind) error {
	if err := d.out.Frames(h.encodeInfo(sse, at, &Info{Kind: kind})); err != nil {
		return err
	}
	return errEnded
}

// socketDoor sends frames over a WebSocket, whose pings are another's business.
type socketDoor struct{ out lexrt.Subscribed }

func (socketDoor) format() format { return socket }

func (socketDoor) proxied() bool { return false }

func (d socketDoor) frames(frames ...[]byte) error { return d.out.Frames(frames...) }

func (d socketDoor) long(frame []byte, goOn func() bool) error { return d.out.LongFrame(frame, goOn) }

func (socketDoor) greet(h *Hub, at store.LogCursor) []byte {
	return h.encodeInfo(socket, at, &Info{Kind: InfoPosition})
}

// hold tells the position whether it has moved or not: pages are not told of pings, and would not
// know a connection that is silent from one that is dead.
func (d socketDoor) hold(h *Hub, at store.LogCursor, _ bool) []byte { return d.greet(h, at) }

// ErrTooSlow ends a subscription whose client did not read fast enough.
var ErrTooSlow = errors.New("stream: the client reads too slowly")

// The codes with which subscriptions end (RFC 6455, 7.4.1, and the registry that it founds).
const (
	closeNormal  = 1000
	closeRestart = 1012
)

func (d socketDoor) end(h *Hub, at store.LogCursor, kind InfoKind) error {
	if kind == InfoSlowConsumer {
		return ErrTooSlow // of which the runtime makes the error frame
	}
	if err := d.out.Frames(h.encodeInfo(socket, at, &Info{Kind: kind})); err != nil {
		return err
	}
	code := closeNormal
	if kind == InfoServerRestart {
		code = closeRestart
	}
	return &lexrt.CloseError{Code: code, Reason: string(kind)}
}
