package stream

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// Request is what a client asks to follow.
type Request struct {
	User mls.DID
	// Convo restricts the stream to one conversation; nil: all of the user's.
	Convo *mls.ConvoKey
	// Cursor is where to resume, "" to begin with what happens from now on.
	Cursor string
}

const (
	// readyWait is how long a client waits for the hub to find the log.
	readyWait = 5 * time.Second
	// streamsRetry is the hint to a client whose user has too many streams. A
	// connection that died without a word is found out by then.
	streamsRetry = 30 * time.Second
	// Clients of an ended stream come back after a random time in between, so
	// that a restart does not meet all of them at once.
	minReconnect = 500
	maxReconnect = 3000
)

// Serve sends the stream until it ends or ctx does. Errors before anything was
// sent are of a kind of package mls.
func (h *Hub) Serve(ctx context.Context, req Request, out lexrt.EventStream) error {
	if err := h.awaitReady(ctx); err != nil {
		return err
	}
	filter, err := h.filter(ctx, req)
	if err != nil {
		return err
	}
	s, ok := h.register(req.User, filter)
	if !ok {
		return mls.TooManyStreams(h.opt.PerUser, streamsRetry)
	}
	defer h.unregister(s)
	h.opt.Observer.StreamOpened()
	defer h.opt.Observer.StreamClosed()
	w := &writer{h: h, out: out, proxied: !out.Direct()}
	err = h.begin(ctx, s, w, req)
	if err == nil {
		err = h.follow(ctx, s, w)
	}
	if errors.Is(err, errEnded) {
		return nil
	}
	return err
}

var errNotReady = mls.Busy("streams cannot be served yet", 2*time.Second)

func (h *Hub) awaitReady(ctx context.Context) error {
	timer := time.NewTimer(readyWait)
	defer timer.Stop()
	select {
	case <-h.draining:
		return errNotReady
	default:
	}
	select {
	case <-h.ready:
		return nil
	case <-timer.C:
		return errNotReady
	case <-ctx.Done():
		return ctx.Err()
	}
}

// filter finds the conversation that a stream is restricted to. Whether the
// user may follow it is judged by begin: one that does not exist and one that
// is not the user's are answered alike.
func (h *Hub) filter(ctx context.Context, req Request) (mls.ConvoID, error) {
	if req.Convo == nil {
		return "", nil
	}
	id, err := h.opt.Log.FindConvoID(ctx, *req.Convo)
	if errors.Is(err, mls.ErrConvoNotFound) {
		return "", ErrNoSuchConvo
	}
	return id, err
}

// ErrNoSuchConvo is what a client is told whose convoId is malformed, unknown
// or not its own; the lexicon declares no error for it.
var ErrNoSuchConvo = mls.InvalidInput("/convoId", "must be a conversation of the caller's")

// begin brings a stream to the point where it is live: what the client missed
// is sent, and what happens from there on is in the queue.
func (h *Hub) begin(ctx context.Context, s *stream, w *writer, req Request) error {
	from, gap, err := h.resume(ctx, req.Cursor)
	if err != nil {
		return err
	}
	resuming := req.Cursor != "" && !gap
	for greeted := false; ; greeted = true {
		live, member, err := h.attach(ctx, s)
		if err != nil {
			return err
		}
		if !resuming {
			from = live
		}
		if from.Compare(live) > 0 {
			// The cursor comes from a server that is ahead of this one.
			w.skip = from
			poke(h.wake)
		}
		r := replay{h: h, s: s, w: w, from: from, until: live}
		if err := r.prepare(ctx); err != nil {
			return err
		}
		if !greeted {
			if s.filter != "" && !member && !r.member[s.filter] {
				return ErrNoSuchConvo
			}
			if err := w.greet(from, gap); err != nil {
				return err
			}
		}
		if err := r.run(ctx); err != nil {
			return err
		}
		if !s.overflowed() {
			return nil
		}
		// More came meanwhile than the queue holds: it is in the database too.
		resuming = true
		if from.Compare(live) < 0 {
			from = live
		}
	}
}

// resume reads a cursor. gap says that events after it are gone.
func (h *Hub) resume(ctx context.Context, cursor string) (from store.LogCursor, gap bool, err error) {
	if cursor == "" {
		return store.LogCursor{}, false, nil
	}
	if from, err = h.cursors.decode(cursor); err != nil {
		return from, false, errNoCursor
	}
	state, err := h.opt.Log.StreamLog(ctx)
	if err != nil {
		return from, false, err
	}
	// A position ahead of the log was given out before the log went back.
	ahead := from.Generation > state.Generation || (from.Generation == state.Generation && from.Xid >= state.NextXid)
	return from, ahead || from.Compare(state.Compacted) < 0, nil
}

var errNoCursor = mls.InvalidInput("/cursor", "must be one that this service gave out")

// attach makes the stream live and returns after which event, and whether the
// user was then or is now a member of the conversation that the stream is restricted to.
func (h *Hub) attach(ctx context.Context, s *stream) (live store.LogCursor, member bool, err error) {
	at := h.watch(s)
	convos, err := h.opt.Log.StreamConvos(ctx, s.user, at)
	if err != nil {
		return live, false, err
	}
	live, member = h.golive(s, convos)
	// Who has just joined is a member before the log's reader has come to the event.
	member = member || slices.ContainsFunc(convos, func(c store.StreamConvo) bool { return c.Now && c.ConvoID == s.filter })
	return live, member, nil
}

// greet sends the headers, how long to wait before coming back, and where to
// resume when the stream breaks before its first event.
func (w *writer) greet(at store.LogCursor, gap bool) error {
	w.at, w.told = at, at
	wait := minReconnect + rand.IntN(maxReconnect-minReconnect) //nolint:gosec // spreads load, hides nothing
	frame := lexrt.AppendFrame(fmt.Appendf(nil, "retry: %d\n", wait), w.h.cursor(at), "", nil)
	if gap {
		frame = append(frame, w.h.encodeInfo(at, &Info{Kind: InfoCompacted})...)
	}
	w.sent += int64(len(frame))
	return w.out.Frames(frame)
}

// follow sends what comes live.
func (h *Hub) follow(ctx context.Context, s *stream, w *writer) error {
	heartbeat, lifetime := time.NewTimer(h.silence()), time.NewTimer(sooner(h.opt.Lifetime, h.opt.Lifetime/10))
	defer heartbeat.Stop()
	defer lifetime.Stop()
	batch := make([]*entry, 0, flushFrames)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.draining:
			return w.end(InfoServerRestart)
		case <-lifetime.C:
			return w.end(InfoReauthenticate)
		case <-heartbeat.C:
			if err := h.beat(s, w); err != nil {
				return err
			}
			heartbeat.Reset(h.silence())
		case <-s.wake:
			taken, over := s.take(batch[:0])
			if over {
				return w.end(InfoSlowConsumer)
			}
			if err := w.entries(ctx, s, taken); err != nil {
				return err
			}
			clear(taken)
			if !s.idle() {
				poke(s.wake) // and look at the other channels in between
			}
			heartbeat.Reset(h.silence())
		}
	}
}

// silence is how long a stream waits for an event before it sends a heartbeat.
func (h *Hub) silence() time.Duration { return sooner(h.opt.Heartbeat, h.opt.Heartbeat/3) }

// sooner takes a random time below by off d. Streams that were opened by one
// restart, or woken by one event, do not beat and end in one instant.
func sooner(d, by time.Duration) time.Duration {
	return d - rand.N(by) //nolint:gosec // spreads load, hides nothing
}

// beat keeps the connection and the client's cursor alive: a quiet stream's
// cursor would fall behind retention, and be long to resume from.
func (h *Hub) beat(s *stream, w *writer) error {
	h.mu.Lock()
	at := h.at
	caughtUp := s.idle()
	h.mu.Unlock()
	if !caughtUp || at.Compare(w.at) < 0 {
		at = w.told
	}
	return w.hold(at)
}
