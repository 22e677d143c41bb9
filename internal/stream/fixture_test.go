package stream_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
	"mls-server/internal/stream"
	"mls-server/lexrt"
)

// frame is an event as a client gets it.
type frame struct {
	ID      string          `json:"-"`
	Name    string          `json:"-"`
	Cursor  string          `json:"cursor"`
	Kind    stream.InfoKind `json:"kind"`
	Convo   mls.ConvoID     `json:"convo"`
	User    string          `json:"user"`
	Seq     mls.Seq         `json:"seq"`
	Message mls.MessageID   `json:"message"`
	Size    int             `json:"size"`
	Text    string          `json:"text"`
}

// String is how tests name a frame: the seq of a message, or the kind and whom it is about.
func (f frame) String() string {
	if f.Name == "messageEvent" {
		return fmt.Sprint(f.Seq)
	}
	return string(f.Kind) + user(f.User)
}

func user(d string) string {
	if d == "" {
		return ""
	}
	return " " + strings.TrimPrefix(d, "did:plc:")
}

type encoder struct{}

type body struct {
	frame
	payload []byte
}

func (b body) AppendJSON(dst []byte) []byte {
	text, _ := json.Marshal(b.frame)
	text = append(text[:len(text)-1], `,"payload":"`...)
	return append(append(append(dst, text...), b.payload...), `"}`...)
}

func (encoder) Message(cursor string, first mls.GroupID, m *store.Message) (name string, data lexrt.Response) {
	return "messageEvent", body{
		frame{Cursor: cursor, Convo: named(first), Seq: m.Seq, Message: m.ID, Size: len(m.Ciphertext)},
		bytes.Repeat([]byte("a"), (len(m.Ciphertext)*4+2)/3),
	}
}

func (encoder) Info(cursor string, i *stream.Info) (name string, data lexrt.Response) {
	return "infoEvent", body{frame{Cursor: cursor, Kind: i.Kind, Convo: named(i.Convo), User: string(i.User), Text: i.Text}, nil}
}

// named is the conversation whose first group world.convo has named after it.
func named(first mls.GroupID) mls.ConvoID {
	id, err := hex.DecodeString(string(first))
	if err != nil {
		panic(err)
	}
	return mls.ConvoID(id)
}

// messages is the encoder of the subscription.
type messages struct{}

const nsid = "com.example.subscribe"

func (messages) Message(cursor string, first mls.GroupID, m *store.Message) (name string, data lexrt.Response) {
	name, data = encoder{}.Message(cursor, first, m)
	return nsid + "#" + name, data
}

func (messages) Info(cursor string, i *stream.Info) (name string, data lexrt.Response) {
	name, data = encoder{}.Info(cursor, i)
	return nsid + "#" + name, data
}

type counter struct {
	opened, closed, delivered, lag atomic.Int64

	mu sync.Mutex
	// ends are the doors of streams that have ended, with how.
	ends []string
}

func (c *counter) StreamOpened(string)              { c.opened.Add(1) }
func (c *counter) ObserveDelivered(_ string, n int) { c.delivered.Add(int64(n)) }
func (c *counter) ObserveLag(d time.Duration)       { c.lag.Store(int64(d)) }

func (c *counter) StreamClosed(door, end string) {
	c.closed.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ends = append(c.ends, door+" "+end)
}

func (c *counter) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.ends)
}

// world is a database and the hubs that follow its log.
type world struct {
	url   string
	store *store.Store
	bus   stream.Bus
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{url: pgtest.New(t), bus: stream.NewLocalBus()}
	w.store = w.open(t, w.bus.Hint)
	return w
}

func (w *world) open(t *testing.T, committed func()) *store.Store {
	t.Helper()
	s, err := store.New(t.Context(), store.Config{URL: w.url, MaxConns: 12, Committed: committed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// hub starts a hub; the options' log, bus, encoder, observer and logger are filled in.
func (w *world) hub(t *testing.T, opt stream.Options) *stream.Hub {
	t.Helper()
	if opt.Log == nil {
		opt.Log = w.store
	}
	if opt.Bus == nil {
		opt.Bus = w.bus
	}
	return startHub(t, opt)
}

func startHub(t *testing.T, opt stream.Options) *stream.Hub {
	t.Helper()
	opt.Encoder, opt.Messages, opt.Logger, opt.Clock = encoder{}, messages{}, slog.New(slog.DiscardHandler), clock.System
	if opt.Observer == nil {
		opt.Observer = &counter{}
	}
	h := stream.NewHub(opt)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return h
}

// caughtUp waits until the hub has dispatched everything that was committed.
// Transactions of other tests on the same server can hold the log up.
func (w *world) caughtUp(t *testing.T, h *stream.Hub) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		page, err := w.store.ReadLog(t.Context(), h.Position(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(page.Entries) == 0 && !page.Unsettled {
			return
		}
	}
	t.Fatal("the hub does not catch up")
}

func did(name string) mls.DID { return mls.DID("did:plc:" + name) }

func now() time.Time { return clock.Bucket(time.Now()) }

// convo makes a conversation with members.
func (w *world) convo(t *testing.T, members ...string) mls.ConvoID {
	t.Helper()
	id := mls.NewConvoID(time.Now(), "00")
	w.tx(t, func(tx *store.Tx) error {
		group := mls.GroupIDFromBytes([]byte(id))
		if err := tx.CreateConvo(t.Context(), store.NewConvo{ID: id, GroupID: group, Creator: did(members[0]), CipherSuite: 1, At: now()}); err != nil {
			return err
		}
		return tx.UpsertMembers(t.Context(), id, newMembers(members), store.Place{At: now()})
	})
	return id
}

func newMembers(names []string) []store.NewMember {
	members := make([]store.NewMember, len(names))
	for i, n := range names {
		name, device, _ := strings.Cut(n, "/")
		members[i] = store.NewMember{User: did(name), Device: mls.DeviceID(device), MLSDID: string(did(name))}
	}
	return members
}

func (w *world) tx(t *testing.T, do func(tx *store.Tx) error) {
	t.Helper()
	if err := w.store.InTx(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

func (w *world) locked(t *testing.T, convo mls.ConvoID, do func(tx *store.Tx) error) {
	t.Helper()
	w.tx(t, func(tx *store.Tx) error {
		if _, err := tx.LockConvo(t.Context(), mls.ConvoKey{ConvoID: convo}); err != nil {
			return err
		}
		return do(tx)
	})
}

func (w *world) join(t *testing.T, convo mls.ConvoID, names ...string) {
	t.Helper()
	w.locked(t, convo, func(tx *store.Tx) error {
		return tx.UpsertMembers(t.Context(), convo, newMembers(names), store.Place{At: now()})
	})
}

func (w *world) remove(t *testing.T, convo mls.ConvoID, name string) {
	t.Helper()
	w.locked(t, convo, func(tx *store.Tx) error {
		_, err := tx.RemoveUser(t.Context(), convo, did(name), store.LeaveRemoved, now())
		return err
	})
}

func (w *world) event(t *testing.T, convo mls.ConvoID, e store.NewEvent) {
	t.Helper()
	w.locked(t, convo, func(tx *store.Tx) error { return tx.AppendEvents(t.Context(), convo, now(), e) })
}

// send stores a message.
func (w *world) send(t *testing.T, convo mls.ConvoID, sender string) {
	t.Helper()
	if _, err := w.store.SendMessage(t.Context(), message(convo, sender)); err != nil {
		t.Fatal(err)
	}
}

// sendMany sends n messages, many in a statement.
func (w *world) sendMany(t *testing.T, convo mls.ConvoID, sender string, n int) {
	t.Helper()
	for n > 0 {
		batch := make([]store.SendParams, min(n, 250))
		for i := range batch {
			batch[i] = message(convo, sender)
		}
		for _, o := range w.store.SendMessages(t.Context(), batch) {
			if o.Err != nil {
				t.Fatal(o.Err)
			}
		}
		n -= len(batch)
	}
}

func message(convo mls.ConvoID, sender string) store.SendParams {
	return store.SendParams{
		Key: mls.ConvoKey{ConvoID: convo}, Sender: did(sender), ID: mls.NewMessageID(time.Now()), Ciphertext: make([]byte, 512), At: now(),
	}
}

// client is a connection: it takes frames as they come and lets tests wait for them.
type client struct {
	t      *testing.T
	direct bool
	lastID string
	// socket says that it follows over a WebSocket.
	socket bool

	mu     sync.Mutex
	rest   []byte
	frames []frame
	bytes  int
	raw    []string
	times  []time.Time // of raw
	id     string
	gate   chan struct{} // nil: open; else writes wait until it is closed
	more   chan struct{}

	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

var _ lexrt.EventStream = (*client)(nil)

func (c *client) LastEventID() string { return c.lastID }
func (c *client) Direct() bool        { return c.direct }

func (c *client) Event(id, name string, data lexrt.Response) error {
	return c.Frames(lexrt.AppendFrame(nil, id, name, data))
}

func (c *client) Comment(string) error { return errors.New("not used") }

func (c *client) Frames(frames ...[]byte) error {
	c.mu.Lock()
	gate := c.gate
	c.mu.Unlock()
	if gate != nil {
		<-gate
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range frames {
		c.rest = append(c.rest, f...)
		c.bytes += len(f)
	}
	for {
		text, rest, ok := bytes.Cut(c.rest, []byte("\n\n"))
		if !ok {
			break
		}
		c.parse(string(text))
		c.rest = rest
	}
	select {
	case c.more <- struct{}{}:
	default:
	}
	return nil
}

// parse reads one frame as the specification of EventSource says.
func (c *client) parse(text string) {
	var f frame
	data := ""
	for line := range strings.SplitSeq(text, "\n") {
		switch field, value, _ := strings.Cut(line, ": "); field {
		case "id":
			c.id, f.ID = value, value
		case "event":
			f.Name = value
		case "data":
			data = value
		}
	}
	c.raw, c.times = append(c.raw, text), append(c.times, time.Now())
	if data == "" {
		return
	}
	id, name := f.ID, f.Name
	if err := json.Unmarshal([]byte(data), &f); err != nil {
		c.t.Errorf("frame %.200q: %v", text, err)
	}
	f.ID, f.Name = id, name
	want := f.Cursor
	if f.Name == "messageEvent" && f.Seq == 0 {
		want = "" // it is stored nowhere, and leaves the position where it is
	}
	if f.ID != want {
		c.t.Errorf("the frame's id is %q, its cursor %q", f.ID, f.Cursor)
	}
	c.frames = append(c.frames, f)
}

// connect opens a stream; opt may change the request and the client before it begins.
func connect(t *testing.T, h *stream.Hub, name string, opt ...func(*stream.Request, *client)) *client {
	t.Helper()
	return connectWith(t.Context(), t, h, name, opt...)
}

func connectWith(ctx context.Context, t *testing.T, h *stream.Hub, name string, opt ...func(*stream.Request, *client)) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c := &client{t: t, direct: true, more: make(chan struct{}, 1), cancel: cancel, done: make(chan struct{})}
	req := stream.Request{User: did(name)}
	for _, o := range opt {
		o(&req, c)
	}
	go func() {
		defer close(c.done)
		if c.socket {
			c.err = h.Subscribe(ctx, req, subscriber{c})
			return
		}
		c.err = h.Serve(ctx, req, c)
	}()
	t.Cleanup(c.close)
	return c
}

// at resumes at a cursor, which stays the client's position when it is cut before its first frame.
func at(cursor string) func(*stream.Request, *client) {
	return func(r *stream.Request, c *client) { r.Cursor, c.id = cursor, cursor }
}

func only(convo mls.ConvoID) func(*stream.Request, *client) {
	return func(r *stream.Request, _ *client) { r.Convo = &mls.ConvoKey{ConvoID: convo} }
}

func (c *client) close() {
	c.cancel()
	if c.gate != nil {
		select {
		case <-c.gate:
		default:
			close(c.gate)
		}
	}
	<-c.done
}

// patience is when a test gives up: long, since machines may be busy.
const patience = 2 * time.Minute

// await waits until ok holds of what has come so far.
func (c *client) await(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		done := ok()
		c.mu.Unlock()
		if done {
			return
		}
		select {
		case <-c.more:
		case <-c.done:
			c.mu.Lock()
			done := ok()
			c.mu.Unlock()
			if !done {
				c.t.Fatalf("the stream ended (%v) before %s; got %.500s", c.err, what, fmt.Sprint(c.frames))
			}
			return
		case <-deadline:
			c.t.Fatalf("no %s in time; got %.500s", what, fmt.Sprint(c.frames))
		}
	}
}

// live waits until the stream has begun.
func (c *client) live() *client {
	c.t.Helper()
	c.await("greeting", func() bool { return len(c.raw) > 0 })
	return c
}

// want waits for as many events as there are, and compares them.
func (c *client) want(names ...string) {
	c.t.Helper()
	c.await(fmt.Sprint(len(names), " events"), func() bool { return len(c.frames) >= len(names) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if got, want := fmt.Sprint(c.frames), fmt.Sprint(names); got != want {
		c.t.Errorf("got %s, want %s", got, want)
	}
}

// ended waits for the stream's end and returns its last event.
func (c *client) ended() frame {
	c.t.Helper()
	select {
	case <-c.done:
	case <-time.After(patience):
		c.t.Fatal("the stream does not end")
	}
	if errors.Is(c.err, stream.ErrTooSlow) {
		// The runtime makes an error frame of it, from which a client goes on where it was.
		c.frames = append(c.frames, frame{Kind: stream.InfoSlowConsumer, Cursor: c.id})
		c.err = nil
	}
	closed, ok := errors.AsType[*lexrt.CloseError](c.err)
	if c.err != nil && !ok {
		c.t.Fatalf("the stream ended with %v", c.err)
	}
	frames := c.got()
	if ok && (len(frames) == 0 || closed.Reason != string(frames[len(frames)-1].Kind)) {
		c.t.Errorf("%v after %v", closed, frames)
	}
	if len(frames) == 0 {
		return frame{}
	}
	return frames[len(frames)-1]
}

// got returns the events so far, texts all frames as they came, size their bytes.
func (c *client) got() []frame {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.frames)
}

func (c *client) texts() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.raw)
}

func (c *client) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// position is where the client would resume.
func (c *client) position() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}
