package stream

import (
	"context"

	"mls-server/internal/store"
)

// Position is the last event that the hub has dispatched.
func (h *Hub) Position() store.LogCursor { return h.position() }

// CachedFrames returns how many bytes of encoded messages the queues of the
// hub's streams hold, and how many the cache believes they do.
func (h *Hub) CachedFrames() (held, counted int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	seen := map[*entry]bool{}
	for _, streams := range h.users {
		for _, s := range streams {
			s.mu.Lock()
			for i := range s.queue.n {
				e := s.queue.buf[(s.queue.head+i)%len(s.queue.buf)]
				for f := range formats {
					if frame := e.frames[f].Load(); frame != nil && !seen[e] {
						held += int64(len(*frame))
					}
				}
				seen[e] = true
			}
			s.mu.Unlock()
		}
	}
	h.cache.mu.Lock()
	defer h.cache.mu.Unlock()
	return held, h.cache.bytes
}

// HintChannel is where hints pass through Redis.
const HintChannel = hintChannel

// Publish sends a hint to Redis, Received handles what a subscription to
// HintChannel receives.
func (b *RedisBus) Publish(ctx context.Context) error { return b.publishOnce(ctx) }
func (b *RedisBus) Received(message any)              { b.received(message) }

// Cursor is the cursor of a position.
func (h *Hub) Cursor(at store.LogCursor) string { return h.cursor(at) }

// RelayChannel is where messages pass through Redis.
const RelayChannel = relayChannel
