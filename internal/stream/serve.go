package stream

import (
	"context"
	"errors"
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

// Serve sends the stream as Server-Sent Events until it ends or ctx does. Errors
// before anything was sent are of a kind of package mls.
func (h *Hub) Serve(ctx context.Context, req Request, out lexrt.EventStream) error {
	return h.serve(ctx, req, eventDoor{out})
}

// Subscribe sends the stream over a WebSocket. It fails with a *lexrt.CloseError
// when the stream has ended in order, with ErrTooSlow, or with a kind of package mls
// before anything was sent.
func (h *Hub) Subscribe(ctx context.Context, req Request, out lexrt.Subscribed) error {
	return h.serve(ctx, req, socketDoor{out})
}

func (h *Hub) serve(ctx context.Context, req Request, out door) error {
	if err := h.awaitReady(ctx); err != nil {
		return err
	}
	filter, err := h.filter(ctx, req)
	if err != nil {
		return err
	}
	s, ok := h.admit(ctx, req.User, filter, out.format())
	if !ok {
		return mls.TooManyStreams(h.opt.PerUser, streamsRetry)
	}
	defer h.leave(ctx, s)
	if h.opt.Refused != nil && h.opt.Refused(req.User) {
		s.end() // EndStreams came before there was anything to end
	}
	w := &writer{h: h, out: out, proxied: out.proxied()}
	h.opt.Observer.StreamOpened(out.format().String())
	defer func() { h.opt.Observer.StreamClosed(out.format().String(), w.ending(ctx, err)) }()
	if err = h.run(ctx, s, w, req.Cursor); errors.Is(err, errEnded) {
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

// nobodys is a conversation that nobody is in.
const nobodys mls.ConvoID = "-"

// filter finds the conversation that a stream is restricted to. Whether the user may follow it is
// judged by begin: one that does not exist and one that is not the user's are answered alike, and
// take the same work.
func (h *Hub) filter(ctx context.Context, req Request) (mls.ConvoID, error) {
	if req.Convo == nil {
		return "", nil
	}
	id, err := h.opt.Log.FindConvoID(ctx, *req.Convo)
	if errors.Is(err, mls.ErrConvoNotFound) {
		return nobodys, nil
	}
	return id, err
}

// ErrNoSuchConvo is what a client is told whose convoId is malformed, unknown
// or not its own; the lexicon declares no error for it.
var ErrNoSuchConvo = mls.InvalidInput("/convoId", "must be a conversation of the caller's")

// place is where a stream begins.
type place struct {
	// from is the last event that the client has, when it is resuming; else the
	// stream begins with what happens from now on.
	from     store.LogCursor
	resuming bool
	// gap says that the client is told of events that it will not get.
	gap bool
}

// errLost says that the log went back under a stream, which has to begin anew.
var errLost = errors.New("stream: the log went back")

// run sends the stream.
func (h *Hub) run(ctx context.Context, s *stream, w *writer, cursor string) error {
	p, err := h.resume(ctx, s, cursor)
	if err != nil {
		return err
	}
	lifetime := time.NewTimer(sooner(h.opt.Lifetime, h.opt.Lifetime/10))
	defer lifetime.Stop()
	for {
		if err = h.begin(ctx, s, w, p); err == nil {
			err = h.follow(ctx, s, w, lifetime.C)
		}
		if !errors.Is(err, errLost) {
			return err
		}
		p = place{gap: true}
	}
}

// begin brings a stream to the point where it is live: what the client missed
// is sent, and what happens from there on is in the queue.
func (h *Hub) begin(ctx context.Context, s *stream, w *writer, p place) error {
	for {
		live, member, err := h.attach(ctx, s)
		if err != nil {
			return err
		}
		if !p.resuming {
			p.from = live
		}
		w.skip = store.LogCursor{}
		if p.from.Compare(live) > 0 {
			// The cursor comes from a server that is ahead of this one.
			w.skip = p.from
			poke(h.wake)
		}
		r := replay{h: h, s: s, w: w, from: p.from, until: live}
		if err := r.prepare(ctx); err != nil {
			return err
		}
		if err := w.begin(p, s.filter == "" || member || r.member[s.filter]); err != nil {
			return err
		}
		if err := r.run(ctx); err != nil {
			return err
		}
		if !s.overflowed() {
			return nil
		}
		// More came meanwhile than the queue holds: it is in the database too.
		p.resuming, p.gap = true, false
		if p.from.Compare(live) < 0 {
			p.from = live
		}
	}
}

// resume reads a cursor and judges it. What retention has removed is a gap only for those who could
// have seen some of it.
func (h *Hub) resume(ctx context.Context, s *stream, cursor string) (place, error) {
	if cursor == "" {
		return place{}, nil
	}
	from, err := h.cursors.decode(cursor)
	if err != nil {
		return place{}, errNoCursor
	}
	log, err := h.opt.Log.StreamLog(ctx, from)
	if err != nil {
		return place{}, err
	}
	gap := !log.Intact
	if !gap && from.Compare(log.Compacted) < 0 {
		if gap, err = h.opt.Log.LostEvents(ctx, s.user, s.filter, from); err != nil {
			return place{}, err
		}
	}
	return place{from: from, resuming: !gap, gap: gap}, nil
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
	live, member, err = h.golive(s, convos)
	// Who has just joined is a member before the log's reader has come to the event.
	member = member || slices.ContainsFunc(convos, func(c store.StreamConvo) bool { return c.Now && c.ConvoID == s.filter })
	return live, member, err
}

// begin tells the client where the stream begins. follows says whether the user
// is a member of the conversation that the stream is restricted to.
func (w *writer) begin(p place, follows bool) error {
	switch {
	case !w.greeted && !follows:
		return ErrNoSuchConvo
	case !w.greeted:
		w.greeted = true
		return w.greet(p.from, p.gap)
	case !p.gap:
		return nil
	}
	w.at, w.told = p.from, p.from
	if err := w.out.frames(w.info(p.from, &Info{Kind: InfoCompacted})); err != nil || follows {
		return err
	}
	return w.finish()
}

// greet sends the headers, and where to resume when the stream breaks before its
// first event.
func (w *writer) greet(at store.LogCursor, gap bool) error {
	w.at, w.told = at, at
	frames := [][]byte{w.out.greet(w.h, at)}
	if gap {
		frames = append(frames, w.info(at, &Info{Kind: InfoCompacted}))
	}
	for _, frame := range frames {
		w.sent += int64(len(frame))
	}
	return w.out.frames(frames...)
}

// follow sends what comes live. It fails with errLost when the log goes back.
func (h *Hub) follow(ctx context.Context, s *stream, w *writer, lifetime <-chan time.Time) error {
	heartbeat := time.NewTimer(h.silence())
	defer heartbeat.Stop()
	batch := make([]*entry, 0, flushFrames)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-h.draining:
			return w.end(InfoServerRestart)
		case <-s.gone:
			return w.end(InfoReauthenticate)
		case <-lifetime:
			return w.end(InfoReauthenticate)
		case <-heartbeat.C:
			if err := h.beat(s, w); err != nil {
				return err
			}
			heartbeat.Reset(h.silence())
		case <-s.wake:
			if h.isLost(s) {
				return errLost
			}
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
	caughtUp := s.idle() && !s.lost
	h.mu.Unlock()
	if !caughtUp || at.Compare(w.at) < 0 {
		at = w.told
	}
	return w.hold(at)
}
