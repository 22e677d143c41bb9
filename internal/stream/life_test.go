package stream_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

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

// What others say moves a quiet stream's position, so that it does not fall behind retention; where
// it did, that is told only to those who have lost something.
func TestHeartbeatsMoveTheCursor(t *testing.T) {
	t.Parallel()
	doors(t, testHeartbeatsMoveTheCursor)
}

func testHeartbeatsMoveTheCursor(t *testing.T, via option) {
	t.Helper()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		c := connect(t, h, "bob", via).live()
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
		connect(t, h, "eve", via, at(before)).want("compacted")
		for _, position := range []string{before, c.position()} { // nothing of bob's is gone
			fresh := connect(t, h, "bob", via, at(position)).live()
			synctest.Wait()
			if len(fresh.got()) != 0 {
				t.Errorf("resumed with %v", fresh.got())
			}
		}
	})
}

func TestCompactedThenLive(t *testing.T) {
	t.Parallel()
	doors(t, testCompactedThenLive)
}

func testCompactedThenLive(t *testing.T, via option) {
	t.Helper()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		c := connect(t, h, "bob", via).live()
		l.send(512, 512, 512)
		time.Sleep(time.Second)
		c.want("1", "2", "3")
		l.mu.Lock()
		l.compacted = l.entries[1].Cursor
		l.mu.Unlock()
		old := connect(t, h, "bob", via, at(c.got()[0].Cursor))
		old.want("compacted")
		connect(t, h, "bob", via, at(c.got()[1].Cursor)).want("3")
		l.send(512)
		time.Sleep(time.Second)
		old.want("compacted", "4")
		connect(t, h, "bob", via, at(old.got()[0].Cursor)).want("4")
	})
}

func TestDrain(t *testing.T) {
	t.Parallel()
	doors(t, testDrain)
}

func testDrain(t *testing.T, via option) {
	t.Helper()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, h := b.T, b.hub
		c := connect(t, h, "bob", via).live()
		h.Drain()
		if last := c.ended(); last.Kind != stream.InfoServerRestart {
			t.Errorf("ended with %v", last)
		}
		late := connect(t, h, "bob", via)
		<-late.done
		if late.err == nil || len(late.texts()) > 0 {
			t.Errorf("a stream was begun while draining: %v", late.err)
		}
	})
}

func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	doors(t, testSlowConsumer)
}

func testSlowConsumer(t *testing.T, via option) {
	t.Helper()
	const buffer = 100
	counted := &counter{}
	inBubble(t, stream.Options{Buffer: buffer, Observer: counted}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		gate := make(chan struct{})
		slow := connect(t, h, "bob", via).live()
		fast := connect(t, h, "alice", via).live()
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
		if ends := counted.all(); len(ends) != 1 || !strings.HasSuffix(ends[0], " slow-consumer") {
			t.Errorf("counted %v", ends)
		}
		again := connect(t, h, "bob", via, at(last.Cursor))
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
	doors(t, testFrameCacheIsBounded)
}

func testFrameCacheIsBounded(t *testing.T, via option) {
	t.Helper()
	const limit = 20_000
	inBubble(t, stream.Options{FrameCache: limit}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		gate := make(chan struct{})
		c := connect(t, h, "bob", via).live()
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
	doors(t, testCursorOfAServerAhead)
}

func testCursorOfAServerAhead(t *testing.T, via option) {
	t.Helper()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, ahead := b.T, b.log, b.hub
		lagging := startHub(t, stream.Options{Log: l, Bus: stream.NewLocalBus(), Poll: 10 * time.Minute})
		connect(t, lagging, "alice", via).live()
		c := connect(t, ahead, "bob", via).live()
		l.send(512, 512, 512)
		time.Sleep(time.Second)
		c.want("1", "2", "3")
		again := connect(t, lagging, "bob", via, at(c.got()[1].Cursor))
		again.want("3")
		last := connect(t, lagging, "bob", via, at(c.got()[2].Cursor)).live()
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

// The streams of users who are not to be served any longer end, all of them and nobody else's.
func TestStreamsEnd(t *testing.T) {
	t.Parallel()
	doors(t, testStreamsEnd)
}

func testStreamsEnd(t *testing.T, via option) {
	t.Helper()
	refused := func(user mls.DID) bool { return user == did("dave") }
	inBubble(t, stream.Options{Refused: refused}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		carol := connect(t, h, "carol", via).live()
		before := carol.position()
		var bobs []*client
		for range 3 {
			bobs = append(bobs, connect(t, h, "bob", via).live())
		}
		h.EndStreams([]mls.DID{did("bob"), did("nobody")})
		h.EndStreams([]mls.DID{did("bob")})
		for _, c := range bobs {
			if last := c.ended(); last.Kind != stream.InfoReauthenticate {
				t.Errorf("ended with %v", last)
			}
		}
		l.send(512)
		time.Sleep(251 * time.Millisecond)
		carol.want("1")
		// Whoever comes in spite of it, since it was let in a moment before, is given nothing.
		dave := connect(t, h, "dave", via, at(before))
		if last := dave.ended(); last.Kind != stream.InfoReauthenticate || len(dave.got()) != 1 {
			t.Errorf("given %v", dave.got())
		}
		connect(t, h, "bob", via, at(before)).want("1") // Refused is asked, and says nothing of bob
	})
}
