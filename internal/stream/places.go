package stream

import (
	"context"
	"maps"
	"slices"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
)

// Places counts the streams of users over all servers. *ratelimit.Places implements it.
type Places interface {
	// Note tells the other servers how many streams a user has here, and returns how
	// many it has there.
	Note(ctx context.Context, user string, here func() int) (elsewhere int)
}

// notePause is how often the other servers are told of all streams.
const notePause = 30 * time.Second

// admit adds a stream for a user, unless the user has too many here and elsewhere.
func (h *Hub) admit(ctx context.Context, user mls.DID, filter mls.ConvoID, f format) (*stream, bool) {
	s, ok := h.register(user, filter, f)
	if !ok || h.opt.Places == nil {
		return s, ok
	}
	if h.note(ctx, user)+h.count(user) > h.opt.PerUser {
		h.leave(ctx, s)
		return nil, false
	}
	return s, true
}

// leave removes a stream, and tells the other servers.
func (h *Hub) leave(ctx context.Context, s *stream) {
	h.unregister(s)
	if h.opt.Places != nil {
		h.note(context.WithoutCancel(ctx), s.user) // the client may be gone
	}
}

func (h *Hub) note(ctx context.Context, user mls.DID) (elsewhere int) {
	return h.opt.Places.Note(ctx, string(user), func() int { return h.count(user) })
}

// count is how many streams a user has here.
func (h *Hub) count(user mls.DID) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.users[user])
}

// keepPlaces tells the other servers of all streams, again and again, until ctx ends.
func (h *Hub) keepPlaces(ctx context.Context) {
	for h.opt.Places != nil && clock.Pause(ctx, notePause) == nil {
		h.mu.Lock()
		users := slices.Collect(maps.Keys(h.users))
		h.mu.Unlock()
		for _, user := range users {
			if ctx.Err() != nil {
				return
			}
			h.note(ctx, user)
		}
	}
}
