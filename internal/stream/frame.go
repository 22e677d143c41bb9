package stream

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"mls-server/internal/store"
	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

// entry is one event as all streams of the process share it.
type entry struct {
	store.LogEntry
	// frames are the encoded event in each format, nil while it is not in memory,
	// empty when its message is gone.
	frames  [formats]atomic.Pointer[[]byte]
	loading sync.Mutex
	// passing is stored nowhere: its cursor is that of the event before it.
	passing bool
}

// cursor returns the cursor that resumes after a position.
func (h *Hub) cursor(at store.LogCursor) string { return h.cursors.encode(at) }

// infoFrame encodes an event that is not a message.
func (h *Hub) infoFrame(f format, e *store.LogEntry) []byte {
	kind, known := infoKinds[e.Kind]
	if !known {
		// Written by a newer version of the server: streams of that version show it.
		return []byte{}
	}
	return h.encodeInfo(f, e.Cursor, &Info{
		Kind: kind, Convo: e.FirstGroup, User: e.User, Device: e.Device, Request: e.Request, Epoch: e.Epoch, CommitID: e.CommitID,
		Event: e.Kind, At: e.At,
	})
}

func (h *Hub) encodeInfo(f format, at store.LogCursor, i *Info) []byte {
	const usual = 384
	i.Text = texts[i.Kind]
	cursor := h.cursor(at)
	name, data := h.encoder(f).Info(cursor, i)
	return h.appendFrame(make([]byte, 0, usual), f, cursor, name, data)
}

func (h *Hub) encoder(f format) Encoder {
	if f == socket {
		return h.opt.Messages
	}
	return h.opt.Encoder
}

// appendFrame writes an event in a format.
func (h *Hub) appendFrame(dst []byte, f format, cursor, name string, data lexrt.Response) []byte {
	if f == sse {
		return lexrt.AppendFrame(dst, cursor, name, data)
	}
	nsid, _, _ := strings.Cut(name, "#")
	frame, err := lexcbor.AppendMessage(dst, nsid, name, data)
	if err != nil { // it is of a generated type, so it is a value of the data model
		h.opt.Logger.Error("an event cannot be encoded", slog.Any("fault", err))
		return dst
	}
	return frame
}

// messageFrame encodes a message, or nothing when it is gone.
func (h *Hub) messageFrame(dst []byte, f format, e *store.LogEntry, m *store.Message) []byte {
	if m == nil {
		return dst
	}
	cursor := h.cursor(e.Cursor)
	name, data := h.encoder(f).Message(cursor, e.FirstGroup, m)
	return h.appendFrame(dst, f, cursor, name, data)
}

// frameSize estimates the size of a message's frame.
func frameSize(f format, m *store.Message) int {
	const envelope = 384
	switch {
	case m == nil:
		return 0
	case f == socket:
		return len(m.Ciphertext) + envelope
	}
	return (len(m.Ciphertext)*4+2)/3 + envelope
}

// frameOf returns an entry's frame, which must not be changed. It is read from
// the database when it is not in memory, by one stream for all.
func (h *Hub) frameOf(ctx context.Context, f format, e *entry) ([]byte, error) {
	if frame := e.frames[f].Load(); frame != nil {
		return *frame, nil
	}
	e.loading.Lock()
	defer e.loading.Unlock()
	if frame := e.frames[f].Load(); frame != nil {
		return *frame, nil
	}
	if e.Kind != store.EventMessage {
		frame := h.infoFrame(f, &e.LogEntry)
		e.frames[f].Store(&frame)
		return frame, nil
	}
	messages, release, err := h.readMessages(ctx, []store.MessageRef{{ConvoID: e.ConvoID, Seq: e.Seq}})
	if err != nil {
		return nil, err
	}
	defer release()
	frame := h.messageFrame(make([]byte, 0, frameSize(f, messages[0])), f, &e.LogEntry, messages[0])
	h.cache.put(e, f, frame)
	return frame, nil
}
