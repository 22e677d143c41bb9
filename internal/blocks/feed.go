package blocks

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/coder/websocket"
	"github.com/go-json-experiment/json"

	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// knownInterval is how often the users of this server are read anew.
	knownInterval = time.Minute
	pingInterval  = 30 * time.Second
	pingTimeout   = 10 * time.Second
	maxBackoff    = time.Minute
)

// FeedCache is what a Feed writes to.
type FeedCache interface {
	// SaveBlocks is that of Cache.
	SaveBlocks(ctx context.Context, found store.BlocksFound) error
	// DropBlock removes a block by author and record key, which is all that a deletion names, and
	// ends the conflicts that it caused. gone is the time of the deletion. It is no error when
	// there is none.
	DropBlock(ctx context.Context, blocker mls.DID, key string, gone time.Time) error
}

// FeedConfig configures a Feed. All fields but Observe and Clock are required.
type FeedConfig struct {
	Client *egress.Client
	// URL is that of a Jetstream subscription, for example
	// "wss://jetstream2.us-east.bsky.network/subscribe".
	URL   string
	Cache FeedCache
	// Known returns the users of this server. The blocks of others are of no use.
	Known func(ctx context.Context) ([]mls.DID, error)
	// Conflict is told of each block between two known users, and again when the stream tells of it
	// again. SeenAt is the time of the event. Where several servers run feeds, each of them is
	// told.
	Conflict func(ctx context.Context, b store.Block) error
	// Account, when not nil, is told what an account's host says of it at a time, of any account
	// and as often as the stream does.
	Account func(ctx context.Context, user mls.DID, status store.HostStatus, at time.Time) error
	// Position, when not nil, keeps where the stream stands over restarts.
	Position Position
	// Observe, when not nil, counts: "connected", "disconnected", "block", "unblock", "account",
	// "skipped" for events that cannot be applied, "failed" for connections that were not made and
	// for events that wait for the database.
	Observe func(event string)
	Clock   clock.Clock
}

// Position keeps where a stream stands.
type Position interface {
	// FeedPosition is what was kept last, by any server; zero when nothing was.
	FeedPosition(ctx context.Context) (time.Time, error)
	// SaveFeedPosition keeps a position, unless a later one is known.
	SaveFeedPosition(ctx context.Context, at time.Time) error
}

// Feed follows a Jetstream and keeps the cache live: a block or unblock of a user of this server is
// known within seconds, and so is an account that is taken down. What it misses while it is not
// connected for longer than the Jetstream remembers, look-ups find.
type Feed struct {
	cfg      FeedConfig
	known    map[mls.DID]struct{}
	knownAt  time.Time
	position int64 // time_us of the last event, 0 before the first
	saved    int64 // the position that was kept last
	loaded   bool  // what was kept before the start was looked for
}

// NewFeed returns a feed.
func NewFeed(cfg FeedConfig) *Feed {
	if cfg.Observe == nil {
		cfg.Observe = func(string) {}
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Feed{cfg: cfg}
}

// Run follows the stream until ctx ends, and connects again when it breaks,
// where it left off. It must be called once.
func (f *Feed) Run(ctx context.Context) {
	wait := time.Second
	for ctx.Err() == nil {
		before := f.position
		f.follow(ctx)
		if f.position != before {
			wait = time.Second
		}
		if clock.Pause(ctx, wait/2+rand.N(wait)) != nil { //nolint:gosec // jitter, not a secret
			return
		}
		wait = min(2*wait, maxBackoff)
	}
}

// follow is one connection.
func (f *Feed) follow(ctx context.Context) {
	link, err := url.Parse(f.cfg.URL)
	if err != nil {
		f.cfg.Observe("failed")
		return
	}
	if err := f.load(ctx); err != nil {
		f.cfg.Observe("failed")
		return
	}
	q := link.Query()
	q.Set("wantedCollections", collection)
	if f.position > 0 {
		q.Set("cursor", strconv.FormatInt(f.position-rewind.Microseconds(), 10))
	}
	link.RawQuery = q.Encode()
	conn, err := f.cfg.Client.WebSocket(ctx, link.String())
	if err != nil {
		f.cfg.Observe("failed")
		return
	}
	defer func() { _ = conn.CloseNow() }()
	f.cfg.Observe("connected")
	defer f.cfg.Observe("disconnected")

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go keepAlive(ctx, cancel, conn)
	for {
		_, message, err := conn.Read(ctx)
		if err != nil {
			return
		}
		if err := f.handle(ctx, message); err != nil {
			f.cfg.Observe("failed")
			return // the event is read again once the connection was made again
		}
		f.save(ctx)
	}
}

// saveEvery is how far a stream has come when its position is kept again.
const saveEvery = 10 * time.Second

// load begins where a server of before has left off.
func (f *Feed) load(ctx context.Context) error {
	if f.loaded || f.cfg.Position == nil {
		return nil
	}
	at, err := f.cfg.Position.FeedPosition(ctx)
	if err != nil {
		return err
	}
	f.loaded = true
	if us := at.UnixMicro(); f.position == 0 && f.plausible(us) {
		f.position, f.saved = us, us
	}
	return nil
}

// save keeps the position now and then. What is not kept is heard again after a restart.
func (f *Feed) save(ctx context.Context) {
	if f.cfg.Position == nil || f.position < f.saved+saveEvery.Microseconds() {
		return
	}
	at := time.UnixMicro(f.position)
	if now := f.cfg.Clock.Now(); at.After(now) {
		at = now
	}
	if f.cfg.Position.SaveFeedPosition(ctx, at) == nil {
		f.saved = f.position
	}
}

// keepAlive ends a connection that no longer answers.
func keepAlive(ctx context.Context, cancel context.CancelFunc, conn *websocket.Conn) {
	tick := time.NewTicker(pingInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		ping, done := context.WithTimeout(ctx, pingTimeout)
		err := conn.Ping(ping)
		done()
		if err != nil {
			cancel()
			return
		}
	}
}

// event is a message of a Jetstream.
type event struct {
	DID    string `json:"did"`
	TimeUS int64  `json:"time_us"`
	Kind   string `json:"kind"`
	Commit struct {
		Operation  string `json:"operation"`
		Collection string `json:"collection"`
		Key        string `json:"rkey"`
		Record     struct {
			Subject   string `json:"subject"`
			CreatedAt string `json:"createdAt"`
		} `json:"record"`
	} `json:"commit"`
	Account struct {
		Active *bool  `json:"active"`
		Status string `json:"status"`
	} `json:"account"`
}

// handle applies one message, whatever its time: events are known by their records, and to apply
// one twice changes nothing. One that cannot be applied is counted and passed over, or no later one
// would ever be seen. An error means that the database is away, and that the message is to be
// handled again.
func (f *Feed) handle(ctx context.Context, message []byte) error {
	var e event
	if err := json.Unmarshal(message, &e); err != nil {
		return nil //nolint:nilerr // anything but an event is passed over
	}
	var err error
	switch {
	case e.Kind == "commit" && e.Commit.Collection == collection:
		err = f.apply(ctx, &e)
	case e.Kind == "account":
		err = f.tellAccount(ctx, &e)
	}
	switch {
	case err == nil:
	case errors.Is(err, mls.ErrBusy), ctx.Err() != nil:
		return err
	default:
		f.cfg.Observe("skipped")
	}
	f.advance(e.TimeUS)
	return nil
}

const (
	// rewind is how far the stream goes back on a new connection: replay to the microsecond is not
	// promised to be without gaps.
	rewind = 5 * time.Second
	// A position further from now than that is not one.
	maxAhead  = time.Minute
	maxBehind = store.EndedConflicts
)

// advance moves the position to that of an event. It is a cursor and nothing else.
func (f *Feed) advance(us int64) {
	if f.plausible(us) {
		f.position = us
	}
}

// plausible reports whether an event can be of a time.
func (f *Feed) plausible(us int64) bool {
	at, now := time.UnixMicro(us), f.cfg.Clock.Now()
	return us > 0 && at.Before(now.Add(maxAhead)) && at.After(now.Add(-maxBehind))
}

// timeOf is when an event was, and now for one whose time cannot be.
func (f *Feed) timeOf(e *event) time.Time {
	now := f.cfg.Clock.Now()
	if at := time.UnixMicro(e.TimeUS); f.plausible(e.TimeUS) && at.Before(now) {
		return at
	}
	return now
}

func (f *Feed) apply(ctx context.Context, e *event) error {
	author, err := syntax.ParseDID(e.DID)
	if err != nil {
		return nil //nolint:nilerr // it is not an event of an account
	}
	if err := f.refresh(ctx); err != nil {
		return err
	}
	if _, ours := f.known[author]; !ours {
		return nil
	}
	if e.Commit.Operation == "delete" {
		f.cfg.Observe("unblock")
		return f.cfg.Cache.DropBlock(ctx, author, e.Commit.Key, f.timeOf(e))
	}
	r := record{URI: "at://" + e.DID + "/" + collection + "/" + e.Commit.Key}
	r.Value.Subject, r.Value.CreatedAt = e.Commit.Record.Subject, e.Commit.Record.CreatedAt
	now := f.cfg.Clock.Now()
	b, ok := r.block(author, now)
	if !ok {
		return nil
	}
	f.cfg.Observe("block")
	if err := f.cfg.Cache.SaveBlocks(ctx, store.BlocksFound{At: now, Checked: []store.BlockPair{b.BlockPair}, Blocks: []store.Block{b}}); err != nil {
		return err
	}
	if _, ours := f.known[b.Blocked]; !ours {
		return nil
	}
	b.SeenAt = f.timeOf(e)
	return f.cfg.Conflict(ctx, b)
}

// errNobody says that the users of this server could not be read.
var errNobody = errors.New("blocks: users unknown")

func (f *Feed) refresh(ctx context.Context) error {
	now := f.cfg.Clock.Now()
	if f.known != nil && now.Sub(f.knownAt) < knownInterval {
		return nil
	}
	dids, err := f.cfg.Known(ctx)
	if err != nil {
		return errors.Join(errNobody, err)
	}
	known := make(map[mls.DID]struct{}, len(dids))
	for _, d := range dids {
		known[d] = struct{}{}
	}
	f.known, f.knownAt = known, now
	return nil
}
