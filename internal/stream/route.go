package stream

import (
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// adminsByConvo holds the users who are admins of a conversation.
type adminsByConvo map[mls.ConvoID]map[mls.DID]bool

// dispatch puts events into the queues of streams, in order, and moves the
// hub's position past them. Membership changes here, exactly where the log
// says so (I10). messages holds those of events by their index.
func (h *Hub) dispatch(events []store.LogEntry, messages map[int]*store.Message, admins adminsByConvo) {
	entries := make([]*entry, len(events))
	wanted := h.wanted()
	for i := range events {
		e := &entry{LogEntry: events[i]}
		if m, read := messages[i]; read {
			for f := range formats {
				if wanted[f] {
					h.cache.put(e, f, h.messageFrame(make([]byte, 0, frameSize(f, m)), f, &e.LogEntry, m))
				}
			}
		}
		entries[i] = e
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range entries {
		h.dispatchOne(e, admins)
		h.at = e.Cursor
		h.release()
	}
}

// wanted are the formats that streams read. One that begins meanwhile reads its first frames
// itself.
func (h *Hub) wanted() (wanted [formats]bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f, n := range h.counts {
		wanted[f] = n > 0
	}
	return wanted
}

// dispatchOne, and all below that takes no lock, is called with mu held.
func (h *Hub) dispatchOne(e *entry, admins adminsByConvo) {
	switch e.Audience {
	case store.ToUser:
		for _, s := range h.users[e.AudienceDID] {
			if s.live && s.follows(e.ConvoID) {
				h.deliver(s, e)
			}
		}
	case store.ToAdmins:
		for s := range h.routes[e.ConvoID] {
			if s.user != e.AudienceDID && admins[e.ConvoID][s.user] {
				h.deliver(s, e)
			}
		}
	case store.ToMembers:
		if e.Kind == store.EventMemberJoined {
			h.move(&e.LogEntry, true)
		}
		for s := range h.routes[e.ConvoID] {
			h.deliver(s, e)
		}
		if e.Kind == store.EventMemberLeft {
			h.move(&e.LogEntry, false)
		}
	}
}

// deliver hands an event to a stream. A stream that is too slow for it gets no
// more.
func (h *Hub) deliver(s *stream, e *entry) {
	if f := s.format; e.Kind != store.EventMessage && e.frames[f].Load() == nil {
		frame := h.infoFrame(f, &e.LogEntry)
		e.frames[f].Store(&frame)
	}
	if !s.offer(e) {
		h.mute(s)
	}
}

// move lets the streams of a user into a conversation, or out of it.
func (h *Hub) move(event *store.LogEntry, in bool) {
	for _, s := range h.users[event.User] {
		switch {
		case s.moves != nil:
			s.moves[event.ConvoID] = in
		case s.live && in:
			h.route(s, event.ConvoID)
		case s.live:
			h.unroute(s, event.ConvoID)
		}
	}
}

// watch begins to note the moves of the stream's user, and returns the
// position from which it does. The stream gets no events until it goes live.
func (h *Hub) watch(s *stream) store.LogCursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mute(s)
	s.reset()
	s.moves, s.lost = map[mls.ConvoID]bool{}, false
	return h.at
}

// golive routes a watching stream by the memberships that its user had when
// the watch began, corrected by the moves since. The stream gets every event
// after the returned position, and none before it. member says whether the
// user is then in the conversation that the stream is restricted to. It fails
// with errLost when the log went back since the watch began.
func (h *Hub) golive(s *stream, convos []store.StreamConvo) (live store.LogCursor, member bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.lost {
		return live, false, errLost
	}
	for _, c := range convos {
		if _, moved := s.moves[c.ConvoID]; !moved {
			s.moves[c.ConvoID] = c.Then
		}
	}
	s.live, s.convos = true, make(map[mls.ConvoID]struct{}, len(convos))
	for convo, member := range s.moves {
		if member {
			h.route(s, convo)
		}
	}
	s.moves = nil
	_, member = s.convos[s.filter]
	return h.at, member, nil
}

// goBack goes on from another position after the log went back. No stream gets
// an event until it has looked at the roster again.
func (h *Hub) goBack(at store.LogCursor) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = at
	h.held, h.heldBytes = nil, 0
	for _, streams := range h.users {
		for _, s := range streams {
			h.mute(s)
			s.lost = true
			poke(s.wake)
		}
	}
}

// isLost reports whether the log went back under the stream.
func (h *Hub) isLost(s *stream) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return s.lost
}

func (h *Hub) route(s *stream, convo mls.ConvoID) {
	if !s.follows(convo) {
		return
	}
	s.convos[convo] = struct{}{}
	streams := h.routes[convo]
	if streams == nil {
		streams = map[*stream]struct{}{}
		h.routes[convo] = streams
	}
	streams[s] = struct{}{}
}

func (h *Hub) unroute(s *stream, convo mls.ConvoID) {
	delete(s.convos, convo)
	delete(h.routes[convo], s)
	if len(h.routes[convo]) == 0 {
		delete(h.routes, convo)
	}
}

// mute takes a stream off all routes, and ends its watch.
func (h *Hub) mute(s *stream) {
	for convo := range s.convos {
		h.unroute(s, convo)
	}
	s.live, s.moves, s.convos = false, nil, nil
}
