package stream

import "mls-server/internal/store"

// Position is the last event that the hub has dispatched.
func (h *Hub) Position() store.LogCursor { return h.position() }
