package stream

import (
	"context"
	"errors"

	"mls-server/internal/store"
)

const (
	// rolloverBytes is how much a stream sends that may run through an atproto
	// proxy, which cuts after 10 MiB; see ADR 10.
	rolloverBytes = 8<<20 + 512<<10
	// flushBytes and flushFrames are how much is collected before it is written.
	flushBytes  = 64 << 10
	flushFrames = 64
)

// errEnded says that the stream has come to its end in order.
var errEnded = errors.New("stream: ended")

// writer sends frames to one client and remembers how far it got.
type writer struct {
	h   *Hub
	out door
	// proxied streams roll over.
	proxied bool
	// greeted says that the stream has begun.
	greeted bool
	// sent counts bytes, pending ones included.
	sent int64
	// at is the last event that was sent or left out on purpose.
	at store.LogCursor
	// skip is the last event that the client already has, from a server that is ahead.
	skip store.LogCursor
	// told is the position that the client was last given.
	told    store.LogCursor
	pending [][]byte
	bytes   int
	events  int
	// ended says how the stream has ended, "" where its error or its context does.
	ended string
}

// info encodes an event that is not in the log.
func (w *writer) info(at store.LogCursor, i *Info) []byte {
	return w.h.encodeInfo(w.out.format(), at, i)
}

// event sends the frame of an event; an empty frame is left out.
func (w *writer) event(e *store.LogEntry, frame []byte) error {
	if len(frame) == 0 {
		w.at = e.Cursor
		return nil
	}
	if w.proxied && len(frame) > rolloverBytes-flushBytes {
		// It can never pass through a proxy, and the stream would never get beyond it.
		frame = w.info(e.Cursor, &Info{Kind: InfoCompacted, Convo: e.FirstGroup})
	}
	if w.proxied && w.sent+int64(len(frame)) > rolloverBytes {
		return w.end(InfoRollover)
	}
	w.at, w.told = e.Cursor, e.Cursor
	w.events++
	if len(frame) > largeFrame {
		return w.large(frame)
	}
	return w.add(frame)
}

func (w *writer) add(frame []byte) error {
	w.pending = append(w.pending, frame)
	w.bytes += len(frame)
	w.sent += int64(len(frame))
	if w.bytes >= flushBytes || len(w.pending) >= flushFrames {
		return w.flush()
	}
	return nil
}

func (w *writer) flush() error {
	if len(w.pending) == 0 {
		return nil
	}
	err := w.out.frames(w.pending...)
	clear(w.pending)
	w.pending, w.bytes = w.pending[:0], 0
	if err != nil {
		return err
	}
	w.h.opt.Observer.ObserveDelivered(w.out.format().String(), w.events)
	w.events = 0
	return nil
}

// large writes a frame piece by piece, each of which has the full time of a write.
func (w *writer) large(frame []byte) error {
	if err := w.flush(); err != nil {
		return err
	}
	write := w.h.large.begin(len(frame))
	defer w.h.large.end(write)
	w.sent += int64(len(frame))
	if err := w.out.long(frame, func() bool { return !write.given.Load() }); err != nil {
		if write.given.Load() {
			w.ended = endStalled
		}
		return err
	}
	return w.flush()
}

// hold tells the client where to resume, without an event, and that the stream lives.
func (w *writer) hold(at store.LogCursor) error {
	moved := at != w.told
	if moved {
		w.at, w.told = at, at
	}
	frame := w.out.hold(w.h, at, moved)
	w.sent += int64(len(frame))
	return w.out.frames(frame)
}

// end ends the stream in order: what is pending, then an infoEvent with the
// cursor of the last event.
func (w *writer) end(kind InfoKind) error {
	if err := w.flush(); err != nil {
		return err
	}
	w.ended = string(kind)
	return w.out.end(w.h, w.at, kind)
}

// entries sends events that came live.
func (w *writer) entries(ctx context.Context, s *stream, entries []*entry) error {
	for _, e := range entries {
		if e.passing {
			if err := w.passing(s.format, e); err != nil {
				return err
			}
			continue
		}
		if e.Cursor.Compare(w.skip) <= 0 {
			continue
		}
		frame, err := w.h.frameOf(ctx, s.format, e)
		if err != nil {
			return err
		}
		if err := w.event(&e.LogEntry, frame); err != nil {
			return err
		}
		if s.finishedBy(&e.LogEntry) {
			return w.finish()
		}
	}
	return w.flush()
}

// finish ends a stream that will never have anything to tell again.
func (w *writer) finish() error {
	if err := w.flush(); err != nil {
		return err
	}
	w.ended = endFinished
	return errEnded
}

// finishedBy reports whether the event took the user out of the only
// conversation that the stream is about.
func (s *stream) finishedBy(e *store.LogEntry) bool {
	return s.filter != "" && e.Kind == store.EventMemberLeft && e.User == s.user && e.ConvoID == s.filter
}
