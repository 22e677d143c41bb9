package stream

import (
	"time"

	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	// maxPassing is how much may wait for a stream before it is given nothing ephemeral: what is
	// late means nothing, and what is in the log must not wait for it.
	maxPassing = 16
	// maxHeld and maxHeldBytes bound what waits for the log, heldFor says for how long.
	maxHeld      = 1024
	maxHeldBytes = 8 << 20
	heldFor      = 5 * time.Second
)

// held is a message that waits until this process has read the event that it comes after.
type held struct {
	store.Ephemeral
	since time.Time
}

// Pass gives a message that is stored nowhere to the streams of its conversation, here and on other
// servers. Streams that are slow or not live yet do not get it, nor do servers that cannot be
// reached. It does not block.
func (h *Hub) Pass(e store.Ephemeral) {
	select {
	case <-h.ready:
	default:
		return // there are no streams yet
	}
	h.pass(e)
	if h.opt.Relay != nil && !h.opt.Relay.Alone() {
		h.opt.Relay.Send(h.seal(&e))
	}
}

// pass gives a message to the streams of this process, or holds it until they know who has left
// before it (I10).
func (h *Hub) pass(e store.Ephemeral) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropHeld(h.opt.Clock.Now().Add(-heldFor))
	switch {
	case h.at.Compare(e.After) >= 0:
		h.give(&e)
	case len(h.held) < maxHeld && h.heldBytes+len(e.Message.Ciphertext) <= maxHeldBytes:
		h.held = append(h.held, held{e, h.opt.Clock.Now()})
		h.heldBytes += len(e.Message.Ciphertext)
		poke(h.wake)
	}
}

// release gives what has waited for the log up to where it is read. It is called with mu held.
func (h *Hub) release() {
	rest := h.held[:0]
	for i := range h.held {
		if e := &h.held[i]; h.at.Compare(e.After) < 0 {
			rest = append(rest, *e)
			continue
		}
		h.heldBytes -= len(h.held[i].Message.Ciphertext)
		h.give(&h.held[i].Ephemeral)
	}
	clear(h.held[len(rest):])
	h.held = rest
}

// dropHeld forgets what has waited since before a time. It is called with mu held.
func (h *Hub) dropHeld(before time.Time) {
	n := 0
	for n < len(h.held) && h.held[n].since.Before(before) {
		h.heldBytes -= len(h.held[n].Message.Ciphertext)
		n++
	}
	h.held = append(h.held[:0], h.held[n:]...)
}

// give hands a message to the streams of its conversation. Its cursor is that of the event before
// it, which all of them have in their queues. It is called with mu held.
func (h *Hub) give(m *store.Ephemeral) {
	e := &entry{LogEntry: store.LogEntry{Cursor: h.at, ConvoID: m.ConvoID, FirstGroup: m.FirstGroup, Kind: store.EventMessage}, passing: true}
	for s := range h.routes[m.ConvoID] {
		if f := s.format; e.frames[f].Load() == nil {
			h.cache.put(e, f, h.passingFrame(f, e, &m.Message))
		}
		s.offerPassing(e)
	}
}

// passingFrame encodes a message that moves nobody's position.
func (h *Hub) passingFrame(f format, e *entry, m *store.Message) []byte {
	name, data := h.encoder(f).Message(h.cursor(e.Cursor), e.FirstGroup, m)
	dst := make([]byte, 0, frameSize(f, m))
	if f == sse {
		return lexrt.AppendFrame(dst, "", name, data)
	}
	return h.appendFrame(dst, f, "", name, data)
}

// offerPassing puts what is stored nowhere at the end of the stream's queue, unless the stream is
// slow.
func (s *stream) offerPassing(e *entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over || s.queue.len() >= min(maxPassing, s.limit/2) {
		return
	}
	s.queue.push(e)
	if s.queue.len() == 1 {
		poke(s.wake)
	}
}

// passing sends what is stored nowhere, if it is still in memory. The client's position stays.
func (w *writer) passing(f format, e *entry) error {
	frame := e.frames[f].Load()
	if frame == nil || e.Cursor.Compare(w.skip) < 0 {
		return nil
	}
	if w.proxied && w.sent+int64(len(*frame)) > rolloverBytes {
		return w.end(InfoRollover)
	}
	w.events++
	return w.add(*frame)
}
