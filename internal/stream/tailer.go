package stream

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// pageEvents is how many events are read from the log at once.
	pageEvents = 500
	// pageBytes is how much ciphertext is read at once, unless a single message is larger.
	pageBytes = 4 << 20
	// minRetry and maxRetry bound the pauses while committed events wait for an
	// open transaction that may yet write an event before them.
	minRetry = time.Millisecond
	maxRetry = 32 * time.Millisecond
	// maxFailPause bounds the pauses while the database is away.
	maxFailPause = 2 * time.Second
	// unsettledWarning is how long events may wait before an operator should know.
	unsettledWarning = 10 * time.Second
)

// Run reads the log and feeds the streams until ctx ends, and then returns
// nil. It lives through failures of the database: streams stay open and
// continue where they were.
func (h *Hub) Run(ctx context.Context) error {
	hints, cancel := h.opt.Bus.Subscribe()
	defer cancel()
	if !h.start(ctx) {
		return nil
	}
	ctx, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	others.Go(func() { h.keepPlaces(ctx) })
	if h.opt.Relay != nil {
		others.Go(func() { h.receive(ctx) })
	}
	defer others.Wait()
	defer stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	t := tail{h: h}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-hints:
		case <-h.wake:
		}
		timer.Reset(t.step(ctx))
	}
}

// start finds the log's end, from which this process follows it.
func (h *Hub) start(ctx context.Context) bool {
	for wait := minRetry; ; wait = min(2*wait, maxFailPause) {
		err := h.open(ctx)
		if err == nil {
			close(h.ready)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		h.opt.Logger.LogAttrs(ctx, slog.LevelWarn, "event log cannot be read", slog.Any("fault", err))
		_ = clock.Pause(ctx, wait) // the loop looks at ctx
	}
}

func (h *Hub) open(ctx context.Context) error {
	log, err := h.opt.Log.StreamLog(ctx, store.LogCursor{})
	if err != nil {
		return err
	}
	if h.cursors, err = newCursors(log.CursorKey); err != nil {
		return err
	}
	if h.relaySeal, err = newRelaySeal(log.CursorKey); err != nil {
		return err
	}
	end, err := h.opt.Log.LogEnd(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.at = end
	return nil
}

// tail is what the reading loop remembers between steps.
type tail struct {
	h *Hub
	// generation is that of the log when it was last looked at, looked is when.
	generation int64
	looked     time.Time
	// failing is the pause after the last failure, 0 when there was none.
	failing time.Duration
	// pause is the current one while events are unsettled; warned says that the
	// operator was told of them.
	pause  time.Duration
	warned bool
	// waiting is the first event that could not be given out.
	waiting store.LogCursor
}

// step reads what the log has, and returns how long to wait for a hint before
// it is read again.
func (t *tail) step(ctx context.Context) time.Duration {
	for ctx.Err() == nil {
		page, err := t.read(ctx)
		if err == nil {
			err = t.h.feed(ctx, page.Entries)
		}
		if err != nil {
			return t.failed(ctx, err)
		}
		t.failing = 0
		switch {
		case len(page.Entries) == pageEvents:
			t.caughtUp()
			continue
		case page.Unsettled:
			return t.unsettled(ctx, page.Waiting)
		}
		t.caughtUp()
		break
	}
	return t.h.opt.Poll
}

// read reads a page. Now and then, and before it gives out events of a
// generation that is new to it, it makes sure that the log did not go back:
// a restored database has another roster too (I10).
func (t *tail) read(ctx context.Context) (store.LogPage, error) {
	for {
		at := t.h.position()
		page, err := t.h.opt.Log.ReadLog(ctx, at, pageEvents)
		if err != nil {
			return page, err
		}
		n := len(page.Entries)
		if t.h.opt.Clock.Now().Sub(t.looked) < t.h.opt.Poll && (n == 0 || page.Entries[n-1].Cursor.Generation <= t.generation) {
			return page, nil
		}
		log, err := t.h.opt.Log.StreamLog(ctx, at)
		if err != nil {
			return page, err
		}
		t.generation, t.looked = log.Generation, t.h.opt.Clock.Now()
		if log.Intact {
			return page, nil
		}
		end, err := t.h.opt.Log.LogEnd(ctx)
		if err != nil {
			return page, err
		}
		t.h.opt.Logger.LogAttrs(ctx, slog.LevelWarn, "event log went back; streams are told")
		t.h.goBack(end)
	}
}

func (t *tail) failed(ctx context.Context, err error) time.Duration {
	if t.failing == 0 && ctx.Err() == nil {
		t.h.opt.Logger.LogAttrs(ctx, slog.LevelWarn, "event log cannot be read", slog.Any("fault", err))
	}
	t.behind(t.waiting)
	t.failing = min(max(t.h.opt.Poll, 2*t.failing), maxFailPause)
	return t.failing
}

// unsettled waits for an open transaction. Its commit gives a hint; one that is
// rolled back, or that wrote no event, gives none.
func (t *tail) unsettled(ctx context.Context, waiting store.LogCursor) time.Duration {
	t.pause = min(max(minRetry, 2*t.pause), maxRetry, t.h.opt.Poll)
	if lag := t.behind(waiting); lag > unsettledWarning && !t.warned {
		t.warned = true
		t.h.opt.Logger.LogAttrs(ctx, slog.LevelWarn, "event log waits for an open transaction")
	}
	return t.pause
}

// behind notes that an event waits, and returns for how long.
func (t *tail) behind(waiting store.LogCursor) time.Duration {
	t.h.mu.Lock()
	if t.h.behind.IsZero() || waiting != t.waiting {
		t.waiting, t.h.behind = waiting, t.h.opt.Clock.Now()
	}
	lag := t.h.opt.Clock.Now().Sub(t.h.behind)
	t.h.mu.Unlock()
	t.h.opt.Observer.ObserveLag(lag)
	return lag
}

// caughtUp notes that no event is waiting.
func (t *tail) caughtUp() {
	t.pause, t.warned, t.waiting = 0, false, store.LogCursor{}
	t.h.mu.Lock()
	t.h.behind = time.Time{}
	t.h.mu.Unlock()
	t.h.opt.Observer.ObserveLag(0)
}

// feed hands events to the streams they are for. It stops at the first event
// that cannot be read; those before it stay dispatched.
func (h *Hub) feed(ctx context.Context, events []store.LogEntry) error {
	admins, err := h.adminsFor(ctx, events)
	if err != nil {
		return err
	}
	for len(events) > 0 {
		n, messages, err := h.prefetch(ctx, events)
		if err != nil {
			return err
		}
		h.dispatch(events[:n], messages, admins)
		events = events[n:]
	}
	return nil
}

// adminsFor looks up who may see the events that are for admins.
func (h *Hub) adminsFor(ctx context.Context, events []store.LogEntry) (adminsByConvo, error) {
	var convos []mls.ConvoID
	for i := range events {
		if events[i].Audience == store.ToAdmins {
			convos = append(convos, events[i].ConvoID)
		}
	}
	if len(convos) == 0 {
		return nil, nil //nolint:nilnil // no event asks for it
	}
	return h.opt.Log.StreamAdmins(ctx, convos)
}

// prefetch reads the messages that streams of this process wait for, and
// returns how many of the events it covers. A message that nobody here waits
// for is not read.
func (h *Hub) prefetch(ctx context.Context, events []store.LogEntry) (n int, messages map[int]*store.Message, err error) {
	var refs []store.MessageRef
	var places []int
	h.mu.Lock()
	for i := range events {
		e := &events[i]
		if e.Kind == store.EventMessage && len(h.routes[e.ConvoID]) > 0 {
			refs, places = append(refs, store.MessageRef{ConvoID: e.ConvoID, Seq: e.Seq}), append(places, i)
		}
	}
	h.mu.Unlock()
	if len(refs) == 0 {
		return len(events), nil, nil
	}
	read, err := h.opt.Log.StreamMessages(ctx, refs, pageBytes, true)
	if err != nil {
		return 0, nil, err
	}
	messages = make(map[int]*store.Message, len(read))
	for i, m := range read {
		messages[places[i]] = m
	}
	if len(read) < len(refs) {
		return places[len(read)], messages, nil
	}
	return len(events), messages, nil
}
