package stream_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/redistest"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

// passing is a message that is stored nowhere, sent after an event.
func passing(after store.LogCursor) store.Ephemeral {
	return store.Ephemeral{
		ConvoID: theConvo, FirstGroup: mls.GroupIDFromBytes([]byte(theConvo)), After: after,
		Message: store.Message{ConvoID: theConvo, ID: "01ARZ3NDEKTSV4RRFFQ69G5FAV", Kind: store.KindApplication, Ciphertext: make([]byte, 512)},
	}
}

// last is the position of the log's last event.
func (l *memoryLog) last() store.LogCursor {
	end, _ := l.LogEnd(context.Background()) // never fails
	return end
}

// What is stored nowhere comes among the events, and moves nobody's position: who resumes by its
// cursor, or by that of the event before it, gets what is in the log, each event once.
func TestEphemeralMessagesPass(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, via option) {
		t.Helper()
		inBubble(t, stream.Options{}, func(b bubble) {
			t, l, h := b.T, b.log, b.hub
			c := connect(t, h, "bob", via).live()
			l.send(512)
			time.Sleep(time.Second)
			c.want("1")
			position := c.position()
			h.Pass(passing(l.last()))
			synctest.Wait()
			c.want("1", "0")
			if c.position() != position {
				t.Error("the position has moved")
			}
			resumed := connect(t, h, "bob", via, at(c.got()[1].Cursor)).live()
			l.send(512)
			time.Sleep(time.Second)
			c.want("1", "0", "2")
			resumed.want("2")
		})
	})
}

// Nobody is given what was sent after they had left, however late this server hears of that; who is
// still there is given it once it has (I10).
func TestEphemeralMessagesWaitForTheLog(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, via option) {
		t.Helper()
		inBubble(t, stream.Options{}, func(b bubble) {
			t, l, h := b.T, b.log, b.hub
			alice, bob := connect(t, h, "alice", via).live(), connect(t, h, "bob", via).live()
			l.set(func(l *memoryLog) {
				l.unsettled = true
				l.entries = append(l.entries, store.LogEntry{
					Cursor: store.LogCursor{Generation: 1, Xid: 1, Position: 1}, Kind: store.EventMemberLeft, Audience: store.ToMembers,
					ConvoID: theConvo, FirstGroup: mls.GroupIDFromBytes([]byte(theConvo)), User: did("bob"),
				})
			})
			h.Pass(passing(l.last()))
			time.Sleep(time.Second)
			alice.want()
			l.set(func(l *memoryLog) { l.unsettled = false })
			time.Sleep(time.Second)
			synctest.Wait()
			alice.want("membership-changed bob", "0")
			bob.want("membership-changed bob")

			l.set(func(l *memoryLog) { l.unsettled = true })
			l.send(512)
			h.Pass(passing(l.last()))
			time.Sleep(time.Minute)
			h.Pass(passing(store.LogCursor{})) // the other one is forgotten by now
			l.set(func(l *memoryLog) { l.unsettled = false })
			time.Sleep(3 * time.Second)
			synctest.Wait()
			alice.want("membership-changed bob", "0", "0", "2")
		})
	})
}

// A slow stream is not given what will be late, and is not closed for it.
func TestEphemeralMessagesWaitForNobody(t *testing.T) {
	t.Parallel()
	doors(t, func(t *testing.T, via option) {
		t.Helper()
		const buffer = 100
		inBubble(t, stream.Options{Buffer: buffer}, func(b bubble) {
			t, l, h := b.T, b.log, b.hub
			slow, fast := connect(t, h, "bob", via).live(), connect(t, h, "alice", via).live()
			synctest.Wait()
			gate := make(chan struct{})
			slow.mu.Lock()
			slow.gate = gate
			slow.mu.Unlock()
			for range 3 * buffer {
				h.Pass(passing(store.LogCursor{}))
				synctest.Wait()
			}
			l.send(slices.Repeat([]int{512}, buffer/2)...)
			time.Sleep(time.Second)
			synctest.Wait()
			if got := len(fast.got()); got != 3*buffer+buffer/2 {
				t.Errorf("the stream beside it got %d events", got)
			}
			close(gate)
			synctest.Wait()
			var passed, stored int
			for _, f := range slow.got() {
				switch {
				case f.Kind != "":
					t.Errorf("got %v", f)
				case f.Seq == 0:
					passed++
				default:
					stored++
				}
			}
			if stored != buffer/2 || passed == 0 || passed > 32 {
				t.Errorf("%d stored events, %d others", stored, passed)
			}
		})
	})
}

// What passes through Redis comes to the other servers and not back, says nothing to who listens
// there, and is lost while Redis is away (I7).
func TestRelay(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	start := func() (*stream.Hub, *client) {
		bus := runBus(t, server)
		relay := stream.NewRedisRelay(bus)
		ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
		done := make(chan struct{})
		go func() { defer close(done); relay.Run(ctx) }()
		t.Cleanup(func() { cancel(); <-done })
		h := startHub(t, stream.Options{Log: &memoryLog{}, Bus: bus, Relay: relay})
		return h, connect(t, h, "bob").live()
	}
	h, here := start()
	_, there := start()
	tapped := server.Client(t).Subscribe(t.Context(), stream.RelayChannel)
	defer func() { _ = tapped.Close() }()
	if _, err := tapped.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	passed := 0
	pass := func() { h.Pass(passing(store.LogCursor{})); passed++ }
	crosses := func() {
		t.Helper()
		for before, deadline := len(there.got()), time.Now().Add(patience); len(there.got()) == before; time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("nothing crosses")
			}
			pass()
			here.await("the message itself", func() bool { return len(here.frames) >= passed })
		}
	}
	crosses()
	m, err := tapped.ReceiveMessage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, open := range []string{string(theConvo), string(passing(store.LogCursor{}).FirstGroup), "01ARZ3NDEKTSV4RRFFQ69G5FAV", strings.Repeat("A", 20)} {
		if strings.Contains(m.Payload, open) {
			t.Errorf("%q can be read in Redis", open)
		}
	}
	server.Kill()
	pass()
	here.await("what needs no Redis", func() bool { return len(here.frames) >= passed })
	server.Restart(t)
	crosses()
	if n := len(here.got()); n != passed {
		t.Errorf("%d came, of %d that were sent here", n, passed)
	}
}
