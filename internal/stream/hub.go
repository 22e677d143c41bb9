package stream

import (
	"cmp"
	"context"
	"crypto/cipher"
	"log/slog"
	"slices"
	"sync"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Log is the event log as this package reads it. *store.Store implements it;
// tests that control time have one in memory.
type Log interface {
	StreamLog(ctx context.Context, at store.LogCursor) (store.StreamLog, error)
	LogEnd(ctx context.Context) (store.LogCursor, error)
	ReadLog(ctx context.Context, after store.LogCursor, limit int) (store.LogPage, error)
	Replay(ctx context.Context, p store.ReplayParams) ([]store.LogEntry, error)
	StreamConvos(ctx context.Context, user mls.DID, at store.LogCursor) ([]store.StreamConvo, error)
	LostEvents(ctx context.Context, user mls.DID, only mls.ConvoID, at store.LogCursor) (bool, error)
	StreamMessages(ctx context.Context, refs []store.MessageRef, maxBytes int64, force bool) ([]*store.Message, error)
	StreamAdmins(ctx context.Context, convos []mls.ConvoID) (map[mls.ConvoID]map[mls.DID]bool, error)
	FindConvoID(ctx context.Context, key mls.ConvoKey) (mls.ConvoID, error)
}

var _ Log = (*store.Store)(nil)

// Observer counts. It is given numbers only (I9).
type Observer interface {
	// Of each stream a door is told, one of Doors, and how it ended, one of Ends.
	StreamOpened(door string)
	StreamClosed(door, end string)
	// ObserveDelivered counts events that were written to a stream.
	ObserveDelivered(door string, n int)
	// ObserveLag tells for how long the first event has waited that streams of
	// this process were not given yet, 0 when there is none.
	ObserveLag(d time.Duration)
}

// Options configure a Hub. Zero values of the numbers mean their defaults.
type Options struct {
	Log Log
	Bus Bus
	// Relay reaches the other servers of the log; nil where there are none.
	Relay   Relay
	Encoder Encoder
	// Messages turns events into messages of the subscription. Their names are full types.
	Messages Encoder
	Observer Observer
	Logger   *slog.Logger
	Clock    clock.Clock
	// Buffer is how many events may wait for a stream (SSE_BUFFER_SIZE); default 5000.
	Buffer int
	// PerUser is how many streams a user may have; default 64.
	PerUser int
	// Places counts the streams of users on other servers too; nil where there are none.
	Places Places
	// Refused reports whether a user is not to be served; nil where everybody is. EndStreams ends
	// the streams that such a user has.
	Refused func(user mls.DID) bool
	// Poll is how often the log is read without a hint; default 250 ms.
	Poll time.Duration
	// Heartbeat is the longest silence on a stream, at least 3 ns; it is cut short
	// by a random third at most; default 15 s.
	Heartbeat time.Duration
	// Lifetime is how long a stream lasts, at least 10 ns; it is cut short by a
	// random tenth at most; default one hour.
	Lifetime time.Duration
	// ReadTimeout ends a read of the log; default 30 s.
	ReadTimeout time.Duration
	// FrameCache is how many bytes of encoded messages are kept; default 32 MiB.
	FrameCache int64
}

// Hub holds the streams of a process.
type Hub struct {
	opt   Options
	cache frameCache
	large largeWrites
	// readers and largeReaders are slots; see readMessages.
	readers, largeReaders chan struct{}
	wake                  chan struct{}
	draining              chan struct{}
	drainOnce             sync.Once
	// ready is closed when cursors and at are set.
	ready   chan struct{}
	cursors *cursors
	// relaySeal is set before ready is closed, too.
	relaySeal cipher.AEAD

	mu sync.Mutex
	// at is the last event that was dispatched.
	at store.LogCursor
	// behind is since when the event after it waits, zero when there is none.
	behind time.Time
	// users holds all streams; routes holds the live ones by the conversations of their users.
	users  map[mls.DID][]*stream
	routes map[mls.ConvoID]map[*stream]struct{}
	// held is what waits for the log, the oldest first; see Pass.
	held      []held
	heldBytes int
	// counts are the numbers of streams of each format.
	counts [formats]int
}

// stream is one connection, as the hub sees it.
type stream struct {
	user mls.DID
	// filter is the only conversation that the stream is about, "" for all.
	filter mls.ConvoID
	limit  int
	// wake receives when the queue has something or has overflowed.
	wake chan struct{}
	// gone is closed when the user is not to be served any longer.
	gone     chan struct{}
	goneOnce sync.Once

	// format is that of its frames.
	format format

	// Guarded by Hub.mu. A stream that is not live yet gets no events, but its
	// user's joins (true) and leaves (false) are noted.
	live  bool
	moves map[mls.ConvoID]bool
	// lost says that the log went back: what the stream was routed by is not so,
	// and what it was given may be gone.
	lost bool
	// convos are what the stream is routed by.
	convos map[mls.ConvoID]struct{}

	mu    sync.Mutex
	queue ring[*entry]
	over  bool
}

// follows reports whether events of a conversation are for the stream.
func (s *stream) follows(convo mls.ConvoID) bool { return s.filter == "" || s.filter == convo }

// NewHub returns a hub that serves nobody until Run has read the log's end.
func NewHub(opt Options) *Hub {
	opt.Buffer = cmp.Or(opt.Buffer, 5000)
	opt.PerUser = cmp.Or(opt.PerUser, 64)
	opt.Poll = cmp.Or(opt.Poll, 250*time.Millisecond)
	opt.Heartbeat = cmp.Or(opt.Heartbeat, 15*time.Second)
	opt.Lifetime = cmp.Or(opt.Lifetime, time.Hour)
	opt.FrameCache = cmp.Or(opt.FrameCache, 32<<20)
	opt.ReadTimeout = cmp.Or(opt.ReadTimeout, 30*time.Second)
	opt.Log = patient{opt.Log, opt.ReadTimeout}
	return &Hub{
		opt:          opt,
		cache:        frameCache{limit: opt.FrameCache},
		readers:      make(chan struct{}, maxReaders),
		largeReaders: make(chan struct{}, maxLargeReaders),
		wake:         make(chan struct{}, 1),
		draining:     make(chan struct{}),
		ready:        make(chan struct{}),
		users:        map[mls.DID][]*stream{},
		routes:       map[mls.ConvoID]map[*stream]struct{}{},
	}
}

// Drain ends all streams in order, with infoEvent server-restart, and refuses
// new ones. It does not wait for them.
func (h *Hub) Drain() { h.drainOnce.Do(func() { close(h.draining) }) }

// Streams returns how many streams are open.
func (h *Hub) Streams() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, streams := range h.users {
		n += len(streams)
	}
	return n
}

// EndStreams ends the streams of users in order, with infoEvent reauthenticate. It does not wait
// for them.
func (h *Hub) EndStreams(users []mls.DID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, user := range users {
		for _, s := range h.users[user] {
			s.end()
		}
	}
}

func (s *stream) end() { s.goneOnce.Do(func() { close(s.gone) }) }

// position returns the position of the last event that was dispatched.
func (h *Hub) position() store.LogCursor {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at
}

// Lag is how long the first event has waited that streams of this process were
// not given yet: for a transaction that is still open, or because the log cannot
// be read.
func (h *Hub) Lag() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.behind.IsZero() {
		return 0
	}
	return h.opt.Clock.Now().Sub(h.behind)
}

// register adds a stream for a user, unless the user has too many.
func (h *Hub) register(user mls.DID, filter mls.ConvoID, f format) (*stream, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.users[user]) >= h.opt.PerUser {
		return nil, false
	}
	s := &stream{user: user, filter: filter, format: f, limit: h.opt.Buffer, wake: make(chan struct{}, 1), gone: make(chan struct{})}
	h.users[user] = append(h.users[user], s)
	h.counts[f]++
	return s, true
}

// unregister removes a stream.
func (h *Hub) unregister(s *stream) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mute(s)
	h.counts[s.format]--
	rest := slices.DeleteFunc(h.users[s.user], func(t *stream) bool { return t == s })
	if len(rest) == 0 {
		delete(h.users, s.user)
		return
	}
	h.users[s.user] = rest
}
