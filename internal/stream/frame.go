package stream

import (
	"context"
	"sync"
	"sync/atomic"

	"mls-server/internal/store"
	"mls-server/lexrt"
)

// entry is one event as all streams of the process share it.
type entry struct {
	store.LogEntry
	// frame is the encoded event, nil while it is not in memory, empty when its
	// message is gone.
	frame   atomic.Pointer[[]byte]
	loading sync.Mutex
}

// cursor returns the cursor that resumes after a position.
func (h *Hub) cursor(at store.LogCursor) string { return h.cursors.encode(at) }

// infoFrame encodes an event that is not a message.
func (h *Hub) infoFrame(e *store.LogEntry) []byte {
	kind, known := infoKinds[e.Kind]
	if !known {
		// Written by a newer version of the server: streams of that version show it.
		return []byte{}
	}
	return h.encodeInfo(e.Cursor, &Info{
		Kind: kind, Convo: e.FirstGroup, User: e.User, Device: e.Device, Request: e.Request, Epoch: e.Epoch, CommitID: e.CommitID,
	})
}

func (h *Hub) encodeInfo(at store.LogCursor, i *Info) []byte {
	const usual = 384
	i.Text = texts[i.Kind]
	cursor := h.cursor(at)
	name, data := h.opt.Encoder.Info(cursor, i)
	return lexrt.AppendFrame(make([]byte, 0, usual), cursor, name, data)
}

// messageFrame encodes a message, or nothing when it is gone.
func (h *Hub) messageFrame(dst []byte, e *store.LogEntry, m *store.Message) []byte {
	if m == nil {
		return dst
	}
	cursor := h.cursor(e.Cursor)
	name, data := h.opt.Encoder.Message(cursor, e.FirstGroup, m)
	return lexrt.AppendFrame(dst, cursor, name, data)
}

// frameSize estimates the size of a message's frame.
func frameSize(m *store.Message) int {
	const envelope = 384
	if m == nil {
		return 0
	}
	return (len(m.Ciphertext)*4+2)/3 + envelope
}

// frameOf returns an entry's frame, which must not be changed. It is read from
// the database when it is not in memory, by one stream for all.
func (h *Hub) frameOf(ctx context.Context, e *entry) ([]byte, error) {
	if frame := e.frame.Load(); frame != nil {
		return *frame, nil
	}
	e.loading.Lock()
	defer e.loading.Unlock()
	if frame := e.frame.Load(); frame != nil {
		return *frame, nil
	}
	messages, release, err := h.readMessages(ctx, []store.MessageRef{{ConvoID: e.ConvoID, Seq: e.Seq}})
	if err != nil {
		return nil, err
	}
	defer release()
	frame := h.messageFrame(make([]byte, 0, frameSize(messages[0])), &e.LogEntry, messages[0])
	h.cache.put(e, frame)
	return frame, nil
}
