package stream_test

import (
	"errors"
	"fmt"
	"testing"

	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

func TestLiveAndResume(t *testing.T) {
	t.Parallel()
	doors(t, testLiveAndResume)
}

func testLiveAndResume(t *testing.T, via option) {
	t.Helper()
	w := newWorld(t)
	h := w.hub(t, stream.Options{})
	convo := w.convo(t, "alice", "bob")
	w.send(t, convo, "alice")
	w.caughtUp(t, h)
	bob := connect(t, h, "bob", via).live()
	start := bob.position()
	for range 3 {
		w.send(t, convo, "alice")
	}
	bob.want("2", "3", "4")
	cursor := bob.got()[0].Cursor
	bob.close()
	w.send(t, convo, "bob")

	again := connect(t, h, "bob", via, at(cursor))
	again.want("3", "4", "5")
	w.send(t, convo, "alice")
	again.want("3", "4", "5", "6")

	// A stream that broke before its first event has a position too.
	connect(t, h, "bob", via, at(start)).want("2", "3", "4", "5", "6")
	// Strangers get nothing of it.
	eve := connect(t, h, "eve", via, at(start)).live()
	own := w.convo(t, "eve")
	w.send(t, own, "eve")
	eve.want("membership-changed eve", "1")
}

// I10: membership begins and ends at an exact place of the log, live and in replay alike.
func TestMembershipFollowsTheLog(t *testing.T) {
	t.Parallel()
	doors(t, testMembershipFollowsTheLog)
}

func testMembershipFollowsTheLog(t *testing.T, via option) {
	t.Helper()
	w := newWorld(t)
	h := w.hub(t, stream.Options{})
	convo := w.convo(t, "alice", "bob")
	w.caughtUp(t, h)
	bob := connect(t, h, "bob", via).live()
	carol := connect(t, h, "carol", via).live()
	bobStart, carolStart := bob.position(), carol.position()

	w.send(t, convo, "alice") // 1
	w.join(t, convo, "carol")
	w.send(t, convo, "alice") // 2
	w.remove(t, convo, "bob")
	w.send(t, convo, "alice") // 3
	w.join(t, convo, "bob/11111111-1111-4111-8111-111111111111")
	w.join(t, convo, "bob/22222222-2222-4222-8222-222222222222")
	w.send(t, convo, "alice") // 4
	w.remove(t, convo, "carol")
	w.send(t, convo, "alice") // 5

	joined, left := "membership-changed carol", "membership-changed bob"
	bobs := []string{"1", joined, "2", left, left, left, "4", joined, "5"}
	carols := []string{joined, "2", left, "3", left, left, "4", joined}
	bob.want(bobs...)
	carol.want(carols...)
	// From each place of the log on, replay shows what live did.
	for i, name := range []string{"bob", "carol"} {
		c, all := bob, bobs
		start := bobStart
		if i == 1 {
			c, all, start = carol, carols, carolStart
		}
		for from := -1; from < len(all); from++ {
			cursor := start
			if from >= 0 {
				cursor = c.got()[from].Cursor
			}
			again := connect(t, h, name, via, at(cursor))
			again.want(all[from+1:]...)
			again.live().close()
			if got := len(again.got()); got != len(all)-from-1 {
				t.Errorf("%s from %d: %d events, want %d", name, from, got, len(all)-from-1)
			}
		}
	}
}

func TestAudiences(t *testing.T) {
	t.Parallel()
	doors(t, testAudiences)
}

func testAudiences(t *testing.T, via option) {
	t.Helper()
	w := newWorld(t)
	h := w.hub(t, stream.Options{})
	convo := w.convo(t, "alice", "bob", "carol")
	w.locked(t, convo, func(tx *store.Tx) error {
		for _, name := range []string{"alice", "bob"} {
			if err := tx.Promote(t.Context(), convo, did(name), did("alice"), now()); err != nil {
				return err
			}
		}
		return nil
	})
	w.caughtUp(t, h)
	streams := map[string]*client{}
	for _, name := range []string{"alice", "bob", "carol"} {
		streams[name] = connect(t, h, name, via).live()
	}
	start := streams["alice"].position()
	w.event(t, convo, store.NewEvent{Kind: store.EventReportReceived, Audience: store.ToAdmins, AudienceDID: did("bob")})
	w.event(t, convo, store.NewEvent{Kind: store.EventReportResolved, Audience: store.ToAdmins})
	w.event(t, convo, store.NewEvent{Kind: store.EventWelcome, Audience: store.ToUser, AudienceDID: did("carol"), User: did("carol")})
	w.send(t, convo, "alice")
	want := map[string][]string{
		"alice": {"report-received", "report-resolved", "1"},
		"bob":   {"report-resolved", "1"},
		"carol": {"welcome-available carol", "1"},
	}
	for name, events := range want {
		streams[name].want(events...)
		connect(t, h, name, via, at(start)).want(events...)
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	doors(t, testFilter)
}

func testFilter(t *testing.T, via option) {
	t.Helper()
	w := newWorld(t)
	h := w.hub(t, stream.Options{})
	convo, other := w.convo(t, "alice", "bob"), w.convo(t, "alice", "bob")
	w.caughtUp(t, h)
	bob := connect(t, h, "bob", via, only(convo)).live()
	start := bob.position()
	w.send(t, other, "alice")
	w.send(t, convo, "alice")
	w.event(t, other, store.NewEvent{Kind: store.EventWelcome, Audience: store.ToUser, AudienceDID: did("bob")})
	w.send(t, convo, "alice")
	bob.want("1", "2")
	w.remove(t, convo, "bob")
	if last := bob.ended(); last.String() != "membership-changed bob" {
		t.Errorf("the stream ended with %v", last)
	}
	// A former member still gets what lies between its cursor and its removal.
	again := connect(t, h, "bob", via, only(convo), at(start))
	again.want("1", "2", "membership-changed bob")
	again.ended()

	// What is not the caller's to follow is answered alike.
	var refused []string
	for _, c := range []*client{
		connect(t, h, "bob", via, only(convo)),
		connect(t, h, "eve", via, only(convo)),
		connect(t, h, "eve", via, only(convo), at(start)),
		connect(t, h, "bob", via, only(mls.NewConvoID(now(), "00"))),
	} {
		<-c.done
		refused = append(refused, fmt.Sprint(c.err))
		if len(c.texts()) > 0 {
			t.Errorf("a refused stream was begun: %q", c.texts())
		}
	}
	for _, r := range refused {
		if r != fmt.Sprint(stream.ErrNoSuchConvo) {
			t.Errorf("refused with %q", r)
		}
	}
}

func TestCursorsAreChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.hub(t, stream.Options{})
	elsewhere := newWorld(t)
	// The databases of tests are copies of one that has its key already.
	if _, err := pgtest.Open(t, elsewhere.url).Exec(t.Context(), "UPDATE event_log SET cursor_key = sha256('another')"); err != nil {
		t.Fatal(err)
	}
	foreign := connect(t, elsewhere.hub(t, stream.Options{}), "bob").live().position()
	for _, cursor := range []string{"x", "0", "1-2-3", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", foreign} {
		c := connect(t, h, "bob", at(cursor))
		<-c.done
		if !errors.Is(c.err, mls.ErrInvalidInput) || len(c.texts()) > 0 {
			t.Errorf("cursor %q: %v", cursor, c.err)
		}
	}
}

// A cursor that this service gave out before its log went back is ahead of the
// log: the client is told that events are missing, and goes on from now.
func TestCursorAheadOfTheLog(t *testing.T) {
	t.Parallel()
	doors(t, testCursorAheadOfTheLog)
}

func testCursorAheadOfTheLog(t *testing.T, via option) {
	t.Helper()
	w := newWorld(t)
	h := w.hub(t, stream.Options{PerUser: 10})
	convo := w.convo(t, "alice", "bob")
	w.caughtUp(t, h)
	end := h.Position()
	for _, ahead := range []store.LogCursor{
		{Generation: end.Generation, Xid: end.Xid + 1_000_000, Position: 1},
		{Generation: end.Generation + 1, Xid: 1, Position: 1},
		// a life of the log that a restore undid
		{Generation: end.Generation - 1, Xid: 1, Position: 1},
	} {
		c := connect(t, h, "bob", via, at(h.Cursor(ahead)))
		c.want("compacted")
		w.send(t, convo, "alice")
		c.await("the next message", func() bool { return len(c.frames) == 2 })
		if got := c.got(); got[1].Name != "messageEvent" {
			t.Errorf("%v: got %v", ahead, got)
		}
		connect(t, h, "bob", via, at(c.got()[0].Cursor)).want(c.got()[1].String())
	}
}

func TestStreamsPerUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	counted := &counter{}
	h := w.hub(t, stream.Options{PerUser: 2, Observer: counted})
	first := connect(t, h, "bob").live()
	connect(t, h, "bob").live()
	third := connect(t, h, "bob")
	<-third.done
	if limited := mls.AsError(third.err); limited == nil || limited.Kind != mls.ErrRateLimitExceeded || limited.RetryAfter <= 0 {
		t.Fatalf("a third stream: %v", third.err)
	}
	connect(t, h, "alice").live()
	first.close()
	connect(t, h, "bob").live()
	if opened, closed := counted.opened.Load(), counted.closed.Load(); opened != 4 || closed != 1 || h.Streams() != 3 {
		t.Errorf("opened %d, closed %d, open %d", opened, closed, h.Streams())
	}
}
