package stream

import (
	"context"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// replayEvents is how many events of the log a replay reads at once.
	replayEvents = 1000
	// replayRefs is how many messages it asks for at once, as far as they fit.
	replayRefs = 256
)

// replay sends what one client missed, out of the database, page by page.
type replay struct {
	h *Hub
	s *stream
	w *writer
	// from is exclusive, until inclusive.
	from, until store.LogCursor
	// convos are those that the user was in at any time between the two; member
	// holds those that the user is in at the event being looked at.
	convos []mls.ConvoID
	member map[mls.ConvoID]bool
	buf    []byte
}

// prepare finds out what the user was a member of at the beginning.
func (r *replay) prepare(ctx context.Context) error {
	r.member = map[mls.ConvoID]bool{}
	if r.from.Compare(r.until) >= 0 {
		return nil
	}
	convos, err := r.h.opt.Log.StreamConvos(ctx, r.s.user, r.from)
	if err != nil {
		return err
	}
	for _, c := range convos {
		if r.s.follows(c.ConvoID) {
			r.convos = append(r.convos, c.ConvoID)
			r.member[c.ConvoID] = c.Then
		}
	}
	return nil
}

// run sends the events.
func (r *replay) run(ctx context.Context) error {
	for r.from.Compare(r.until) < 0 {
		select {
		case <-r.h.draining:
			return r.w.end(InfoServerRestart)
		case <-r.s.gone:
			return r.w.end(InfoReauthenticate)
		default:
		}
		page, err := r.h.opt.Log.Replay(ctx, store.ReplayParams{
			User: r.s.user, Convos: r.convos, After: r.from, Until: r.until, Limit: replayEvents,
		})
		if err != nil {
			return err
		}
		if len(page) < replayEvents {
			r.from = r.until
		} else {
			r.from = page[len(page)-1].Cursor
		}
		visible, err := r.visible(ctx, page)
		if err != nil {
			return err
		}
		if err := r.send(ctx, visible); err != nil {
			return err
		}
		r.w.at = r.from
	}
	return nil
}

// visible keeps the events that the user may see, in place. Joins and leaves
// count from their own place on, as they do live.
func (r *replay) visible(ctx context.Context, page []store.LogEntry) ([]store.LogEntry, error) {
	admins, err := r.h.adminsFor(ctx, page)
	if err != nil {
		return nil, err
	}
	kept := page[:0]
	for i := range page {
		e := page[i]
		if r.sees(&e, admins) {
			kept = append(kept, e)
		}
	}
	return kept, nil
}

func (r *replay) sees(e *store.LogEntry, admins adminsByConvo) bool {
	switch e.Audience {
	case store.ToUser:
		return r.s.follows(e.ConvoID) // the log gave out nobody else's
	case store.ToAdmins:
		return r.member[e.ConvoID] && e.AudienceDID != r.s.user && admins[e.ConvoID][r.s.user]
	case store.ToMembers:
		if e.User == r.s.user && e.Kind == store.EventMemberJoined {
			r.member[e.ConvoID] = true
		}
		sees := r.member[e.ConvoID]
		if e.User == r.s.user && e.Kind == store.EventMemberLeft {
			r.member[e.ConvoID] = false
		}
		return sees
	}
	return false
}

// send writes events in order. It holds the frames of one batch of messages.
func (r *replay) send(ctx context.Context, events []store.LogEntry) error {
	var frames map[int][]byte
	for i := range events {
		e := &events[i]
		var frame []byte
		if e.Kind != store.EventMessage {
			frame = r.h.infoFrame(r.s.format, e)
		} else {
			var ready bool
			if frame, ready = frames[i]; !ready {
				// The buffer is about to be used again.
				if err := r.w.flush(); err != nil {
					return err
				}
				var err error
				if frames, err = r.encode(ctx, events, i); err != nil {
					return err
				}
				frame = frames[i]
			}
		}
		if err := r.w.event(e, frame); err != nil {
			return err
		}
		if r.s.finishedBy(e) {
			return r.w.finish()
		}
	}
	return r.w.flush()
}

// encode reads and encodes the next messages among events[first:].
func (r *replay) encode(ctx context.Context, events []store.LogEntry, first int) (map[int][]byte, error) {
	refs, places := make([]store.MessageRef, 0, replayRefs), make([]int, 0, replayRefs)
	for i := first; i < len(events) && len(refs) < replayRefs; i++ {
		if e := &events[i]; e.Kind == store.EventMessage {
			refs, places = append(refs, store.MessageRef{ConvoID: e.ConvoID, Seq: e.Seq}), append(places, i)
		}
	}
	messages, release, err := r.h.readMessages(ctx, refs)
	if err != nil {
		return nil, err
	}
	defer release()
	size := 0
	for _, m := range messages {
		size += frameSize(r.s.format, m)
	}
	if cap(r.buf) < size {
		r.buf = make([]byte, 0, size)
	}
	r.buf = r.buf[:0]
	frames := make(map[int][]byte, len(messages))
	for i, m := range messages {
		begin := len(r.buf)
		r.buf = r.h.messageFrame(r.buf, r.s.format, &events[places[i]], m)
		frames[places[i]] = r.buf[begin:len(r.buf):len(r.buf)]
	}
	return frames, nil
}
