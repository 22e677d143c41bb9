package stream_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

// memoryLog is a log without a database, for tests that control time. Its
// users are members of every conversation.
type memoryLog struct {
	mu        sync.Mutex
	entries   []store.LogEntry
	messages  map[store.MessageRef]*store.Message
	compacted store.LogCursor
	reads     int
	silent    bool // reads wait for the end of their time
	unsettled bool // nothing can be given out yet
	absent    bool // nobody is a member of anything
	// restores is how often the log went back.
	restores int64
}

var _ stream.Log = (*memoryLog)(nil)

const theConvo = mls.ConvoID("3jzfcijpj2z2a")

func (l *memoryLog) StreamLog(_ context.Context, at store.LogCursor) (store.StreamLog, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	intact := at == store.LogCursor{} || slices.ContainsFunc(l.entries, func(e store.LogEntry) bool { return e.Cursor == at })
	return store.StreamLog{Generation: 1 + l.restores, Intact: intact, Compacted: l.compacted, CursorKey: make([]byte, 32)}, nil
}

func (l *memoryLog) LogEnd(context.Context) (store.LogCursor, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.entries) == 0 {
		return store.LogCursor{}, nil
	}
	return l.entries[len(l.entries)-1].Cursor, nil
}

func (l *memoryLog) after(c store.LogCursor, limit int) []store.LogEntry {
	i := slices.IndexFunc(l.entries, func(e store.LogEntry) bool { return e.Cursor.Compare(c) > 0 })
	if i < 0 {
		return nil
	}
	return slices.Clone(l.entries[i:min(i+limit, len(l.entries))])
}

func (l *memoryLog) ReadLog(ctx context.Context, after store.LogCursor, limit int) (store.LogPage, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	if l.silent {
		l.mu.Unlock()
		<-ctx.Done()
		l.mu.Lock()
		return store.LogPage{}, ctx.Err()
	}
	entries := l.after(after, limit)
	if l.unsettled && len(entries) > 0 {
		return store.LogPage{Unsettled: true, Waiting: entries[0].Cursor}, nil
	}
	return store.LogPage{Entries: entries}, nil
}

func (l *memoryLog) Replay(_ context.Context, p store.ReplayParams) ([]store.LogEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(l.after(p.After, p.Limit), func(e store.LogEntry) bool { return e.Cursor.Compare(p.Until) > 0 }), nil
}

func (l *memoryLog) StreamConvos(context.Context, mls.DID, store.LogCursor) ([]store.StreamConvo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.absent {
		return nil, nil
	}
	return []store.StreamConvo{{ConvoID: theConvo, Now: true, Then: true}}, nil
}

func (l *memoryLog) StreamMessages(_ context.Context, refs []store.MessageRef, maxBytes int64, force bool) ([]*store.Message, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []*store.Message
	for i, r := range refs {
		if m := l.messages[r]; m != nil {
			if maxBytes -= int64(len(m.Ciphertext)); maxBytes < 0 && (!force || i > 0) {
				break
			}
		}
		out = append(out, l.messages[r])
	}
	return out, nil
}

func (l *memoryLog) StreamAdmins(context.Context, []mls.ConvoID) (map[mls.ConvoID]map[mls.DID]bool, error) {
	return nil, nil
}

func (l *memoryLog) FindConvoID(_ context.Context, key mls.ConvoKey) (mls.ConvoID, error) {
	return key.ConvoID, nil
}

// set changes the log under its lock.
func (l *memoryLog) set(change func(l *memoryLog)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(l)
}

// send appends messages of a size.
func (l *memoryLog) send(sizes ...int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.messages == nil {
		l.messages = map[store.MessageRef]*store.Message{}
	}
	for _, size := range sizes {
		seq := mls.Seq(len(l.entries) + 1)
		l.entries = append(l.entries, store.LogEntry{
			Cursor: store.LogCursor{Generation: 1 + l.restores, Xid: int64(seq), Position: int64(seq)}, Kind: store.EventMessage, Audience: store.ToMembers,
			ConvoID: theConvo, Seq: seq, MessageID: "01ARZ3NDEKTSV4RRFFQ69G5FAV",
		})
		l.messages[store.MessageRef{ConvoID: theConvo, Seq: seq}] = &store.Message{ConvoID: theConvo, Seq: seq, Ciphertext: make([]byte, size)}
	}
}

// bubble is a test whose time is its own.
type bubble struct {
	*testing.T
	log *memoryLog
	hub *stream.Hub
}

// inBubble runs a test in a bubble. Streams end with it.
func inBubble(t *testing.T, opt stream.Options, do func(b bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &memoryLog{}
		if opt.Bus == nil {
			opt.Bus = stream.NewLocalBus()
		}
		opt.Log = l
		do(bubble{t, l, startHub(t, opt)})
	})
}

func TestHeartbeatsAndLifetime(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		start := time.Now()
		c := connect(t, h, "bob").live()
		if greeting := c.texts()[0]; !strings.HasPrefix(greeting, "retry: ") || !strings.Contains(greeting, "\nid: ") {
			t.Errorf("greeted with %q", greeting)
		}
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if got := c.texts()[1:]; len(got) < 3 || len(got) > 4 || got[0] != ": keep-alive" {
			t.Errorf("in 50 s of silence: %q", got)
		}
		before := c.position()
		l.send(512)
		time.Sleep(251 * time.Millisecond)
		c.want("1")
		time.Sleep(15 * time.Second)
		synctest.Wait()
		if last := c.texts()[len(c.texts())-1]; last != ": keep-alive" {
			t.Errorf("15 s after an event: %q", last)
		}
		time.Sleep(time.Until(start.Add(time.Hour)))
		last := c.ended()
		if lived := time.Since(start); last.Kind != stream.InfoReauthenticate || lived > time.Hour || lived < 54*time.Minute {
			t.Errorf("ended with %v after %v", last, lived)
		}
		if last.Cursor != c.got()[0].Cursor {
			t.Errorf("reauthenticate resumes at %q, the last event was at %q", last.Cursor, c.got()[0].Cursor)
		}
		connect(t, h, "bob", at(before)).want("1")
		connect(t, h, "bob", at(last.Cursor)).live()
	})
}

// Streams that were opened or woken together do not beat together.
func TestHeartbeatsAreSpread(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		const streams = 200
		clients := make([]*client, streams)
		for i := range clients {
			clients[i] = connect(t, h, fmt.Sprint("user", i)).live()
		}
		// spread looks at the first heartbeat after what has just come.
		spread := func(what string) {
			t.Helper()
			next := make([]int, streams)
			for i, c := range clients {
				next[i] = len(c.texts())
			}
			time.Sleep(15 * time.Second)
			synctest.Wait()
			instants := map[time.Duration]bool{}
			for i, c := range clients {
				text, silence := c.raw[next[i]], c.times[next[i]].Sub(c.times[next[i]-1])
				if silence < 10*time.Second || silence > 15*time.Second || text != ": keep-alive" {
					t.Fatalf("%s: %q after %v", what, text, silence)
				}
				instants[silence.Truncate(time.Millisecond)] = true
			}
			if len(instants) < streams*9/10 {
				t.Errorf("%s together, %d streams beat in %d instants", what, streams, len(instants))
			}
		}
		spread("opened")
		l.send(512)
		time.Sleep(251 * time.Millisecond)
		synctest.Wait()
		spread("woken")
	})
}

// What others say moves a quiet stream's position, so that it does not fall behind retention.
func TestHeartbeatsMoveTheCursor(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		c := connect(t, h, "bob").live()
		before := c.position()
		l.mu.Lock()
		l.entries = append(l.entries, store.LogEntry{Cursor: store.LogCursor{Generation: 1, Xid: 9, Position: 9}, Audience: store.ToUser, AudienceDID: did("eve"), Kind: store.EventKeyPackagesLow})
		l.compacted = l.entries[0].Cursor
		l.mu.Unlock()
		time.Sleep(16 * time.Second)
		synctest.Wait()
		if c.position() == before {
			t.Error("the heartbeat did not move the position")
		}
		connect(t, h, "bob", at(before)).want("compacted")
		fresh := connect(t, h, "bob", at(c.position())).live()
		synctest.Wait()
		if len(fresh.got()) != 0 {
			t.Errorf("resumed with %v", fresh.got())
		}
	})
}

func TestCompactedThenLive(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		c := connect(t, h, "bob").live()
		l.send(512, 512, 512)
		time.Sleep(time.Second)
		c.want("1", "2", "3")
		l.mu.Lock()
		l.compacted = l.entries[1].Cursor
		l.mu.Unlock()
		old := connect(t, h, "bob", at(c.got()[0].Cursor))
		old.want("compacted")
		connect(t, h, "bob", at(c.got()[1].Cursor)).want("3")
		l.send(512)
		time.Sleep(time.Second)
		old.want("compacted", "4")
		connect(t, h, "bob", at(old.got()[0].Cursor)).want("4")
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, h := b.T, b.hub
		c := connect(t, h, "bob").live()
		h.Drain()
		if last := c.ended(); last.Kind != stream.InfoServerRestart {
			t.Errorf("ended with %v", last)
		}
		late := connect(t, h, "bob")
		<-late.done
		if late.err == nil || len(late.texts()) > 0 {
			t.Errorf("a stream was begun while draining: %v", late.err)
		}
	})
}

func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	const buffer = 100
	inBubble(t, stream.Options{Buffer: buffer}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		gate := make(chan struct{})
		slow := connect(t, h, "bob").live()
		fast := connect(t, h, "alice").live()
		synctest.Wait()
		slow.mu.Lock()
		slow.gate = gate
		slow.mu.Unlock()
		for range 3 * buffer {
			l.send(512)
			if len(l.entries)%50 == 0 {
				time.Sleep(300 * time.Millisecond)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(fast.got()) != 3*buffer {
			t.Errorf("the stream beside it got %d events", len(fast.got()))
		}
		close(gate)
		last := slow.ended()
		if last.Kind != stream.InfoSlowConsumer || len(slow.got()) > buffer {
			t.Errorf("ended with %v after %d events", last, len(slow.got()))
		}
		again := connect(t, h, "bob", at(last.Cursor))
		time.Sleep(time.Second)
		synctest.Wait()
		if got := len(slow.got()) - 1 + len(again.got()); got != 3*buffer {
			t.Errorf("%d events before and after, want %d", got, 3*buffer)
		}
	})
}

// However far a stream is behind, what is kept for it encoded is bounded; the
// messages that left the cache before it came to them are read again.
func TestFrameCacheIsBounded(t *testing.T) {
	t.Parallel()
	const limit = 20_000
	inBubble(t, stream.Options{FrameCache: limit}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		gate := make(chan struct{})
		c := connect(t, h, "bob").live()
		synctest.Wait()
		c.mu.Lock()
		c.gate = gate
		c.mu.Unlock()
		for range 100 {
			l.send(4096)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if held, counted := h.CachedFrames(); held > limit || counted > limit || counted < limit/2 {
			t.Errorf("%d bytes of frames are in memory, %d are counted, %d are allowed", held, counted, limit)
		}
		close(gate)
		synctest.Wait()
		if len(c.got()) != 100 {
			t.Fatalf("%d events", len(c.got()))
		}
		for i, f := range c.got() {
			if int(f.Seq) != i+1 || f.Size != 4096 {
				t.Fatalf("event %d is %v of %d bytes", i, f, f.Size)
			}
		}
	})
}

func TestRollover(t *testing.T) {
	t.Parallel()
	const proxyCuts = 10 << 20
	sizes := make([]int, 40)
	for i := range sizes {
		sizes[i] = 1 << 19 // 700 KB encoded
	}
	sizes[20] = 10 << 20
	for name, live := range map[string]bool{"live": true, "replay": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, stream.Options{}, func(b bubble) {
				t, l, h := b.T, b.log, b.hub
				proxied := func(_ *stream.Request, c *client) { c.direct = false }
				c := connect(t, h, "bob", proxied).live()
				direct := connect(t, h, "bob").live()
				cursor := c.position()
				if !live {
					c.close()
				}
				l.send(sizes...)
				time.Sleep(time.Second)
				synctest.Wait()
				if len(direct.got()) != len(sizes) {
					t.Errorf("a direct stream got %d events", len(direct.got()))
				}
				var got []string
				for connections := 0; len(got) < len(sizes); connections++ {
					if connections > 0 || !live {
						c = connect(t, h, "bob", proxied, at(cursor))
						time.Sleep(time.Second)
						synctest.Wait()
					}
					if c.size() > 9<<20 || connections > 10 {
						t.Fatalf("connection %d: %d bytes, a proxy cuts at %d", connections, c.size(), proxyCuts)
					}
					for _, f := range c.got() {
						if f.Kind != stream.InfoRollover {
							got = append(got, f.String())
						}
						cursor = f.Cursor
					}
				}
				want := make([]string, len(sizes))
				for i := range want {
					want[i] = direct.got()[i].String()
				}
				want[20] = string(stream.InfoCompacted)
				if !slices.Equal(got, want) {
					t.Errorf("got %v", got)
				}
			})
		})
	}
}

// A cursor of a server that is ahead is good on one that lags, and repeats nothing.
func TestCursorOfAServerAhead(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, ahead := b.T, b.log, b.hub
		lagging := startHub(t, stream.Options{Log: l, Bus: stream.NewLocalBus(), Poll: 10 * time.Minute})
		connect(t, lagging, "alice").live()
		c := connect(t, ahead, "bob").live()
		l.send(512, 512, 512)
		time.Sleep(time.Second)
		c.want("1", "2", "3")
		again := connect(t, lagging, "bob", at(c.got()[1].Cursor))
		again.want("3")
		last := connect(t, lagging, "bob", at(c.got()[2].Cursor)).live()
		l.send(512)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if got := last.got(); len(got) == 0 || got[0].String() != "4" {
			t.Errorf("got %v", got)
		}
	})
}

// A database that hangs, without an error, holds the log up for
// as long as one read may take.
func TestSilentDatabase(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		c := connect(t, h, "bob").live()
		silence := func(on bool) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.silent = on
		}
		silence(true)
		time.Sleep(time.Second)
		synctest.Wait()
		silence(false) // the read under way waits still
		l.send(512)
		time.Sleep(28 * time.Second)
		synctest.Wait()
		if got := c.got(); len(got) != 0 {
			t.Errorf("got %v", got)
		}
		time.Sleep(3 * time.Second)
		c.want("1")
	})
}

// Without hints the log is polled; with them it is read at once.
func TestHintsAndPolls(t *testing.T) {
	t.Parallel()
	bus := stream.NewLocalBus()
	inBubble(t, stream.Options{Bus: bus}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		c := connect(t, h, "bob").live()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		l.mu.Lock()
		reads := l.reads
		l.mu.Unlock()
		if reads < 39 || reads > 42 {
			t.Errorf("%d reads in 10 s", reads)
		}
		time.Sleep(time.Millisecond)
		start := time.Now()
		l.send(512)
		bus.Hint()
		c.want("1")
		if took := time.Since(start); took != 0 {
			t.Errorf("with a hint after %v", took)
		}
		l.send(512)
		c.want("1", "2")
		if took := time.Since(start); took > 250*time.Millisecond {
			t.Errorf("without a hint after %v", took)
		}
	})
}
