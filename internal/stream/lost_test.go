package stream_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

// When the log goes back under a server that stays, its streams are told within
// a second, look at the roster again, and go on: whoever is no member in the
// history that is left gets nothing of it (I10).
func TestLogGoesBack(t *testing.T) {
	t.Parallel()
	doors(t, testLogGoesBack)
}

func testLogGoesBack(t *testing.T, via option) {
	t.Helper()
	inBubble(t, stream.Options{}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		l.send(512, 512)
		time.Sleep(time.Second)
		bob, carol := connect(t, h, "bob", via).live(), connect(t, h, "carol", via, only(theConvo)).live()
		start := bob.position()
		l.send(512)
		time.Sleep(time.Second)
		bob.want("3")
		carol.want("3")

		// The last two are gone, and others come in their place.
		l.set(func(l *memoryLog) { l.entries, l.restores, l.absent = l.entries[:1], 1, true })
		time.Sleep(time.Second)
		synctest.Wait()
		bob.want("3", "compacted")
		if last := carol.ended(); last.Kind != stream.InfoCompacted {
			t.Errorf("the stream of a conversation that its user is not in ended with %v", last)
		}
		l.send(512)
		time.Sleep(time.Second)
		synctest.Wait()
		bob.want("3", "compacted")
		// One that was told resumes like any other.
		l.set(func(l *memoryLog) { l.absent = false })
		connect(t, h, "bob", via, at(bob.got()[1].Cursor)).want("2")
		connect(t, h, "bob", via, at(start)).want("compacted")
	})
}

// slowLog lets a test go on while a stream begins.
type slowLog struct {
	*memoryLog
	asked, proceed chan struct{}
}

func (l slowLog) StreamConvos(ctx context.Context, user mls.DID, at store.LogCursor) ([]store.StreamConvo, error) {
	l.asked <- struct{}{}
	<-l.proceed
	return l.memoryLog.StreamConvos(ctx, user, at)
}

// A stream that begins while the log goes back is told too.
func TestLogGoesBackWhileAStreamBegins(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := slowLog{&memoryLog{}, make(chan struct{}), make(chan struct{})}
		h := startHub(t, stream.Options{Log: l, Bus: stream.NewLocalBus()})
		l.send(512, 512)
		time.Sleep(time.Second)
		c := connect(t, h, "bob")
		<-l.asked
		l.set(func(l *memoryLog) { l.entries, l.restores = l.entries[:1], 1 })
		time.Sleep(time.Second)
		l.proceed <- struct{}{}
		<-l.asked
		l.proceed <- struct{}{}
		c.want("compacted")
		l.send(512)
		time.Sleep(time.Second)
		c.want("compacted", "2")
	})
}

// How long the first event has waited is known, for a metric and for readiness.
func TestLag(t *testing.T) {
	t.Parallel()
	counted := &counter{}
	inBubble(t, stream.Options{Observer: counted}, func(b bubble) {
		t, l, h := b.T, b.log, b.hub
		c := connect(t, h, "bob").live()
		lag := func(what string, least, most time.Duration) {
			t.Helper()
			synctest.Wait()
			told := time.Duration(counted.lag.Load())
			if got := h.Lag(); got < least || got > most || told < least/2 || told > most {
				t.Errorf("%s: the lag is %v, told as %v", what, got, told)
			}
		}
		time.Sleep(time.Minute)
		lag("at rest", 0, 0)
		l.set(func(l *memoryLog) { l.unsettled = true })
		l.send(512, 512)
		time.Sleep(time.Minute)
		lag("while a transaction is open", 59*time.Second, time.Minute)
		// The first event has come through, the next one waits since.
		l.set(func(l *memoryLog) { l.unsettled = false; l.entries = l.entries[:1] })
		time.Sleep(time.Second)
		c.want("1")
		lag("after it", 0, 0)
		l.set(func(l *memoryLog) { l.silent = true })
		time.Sleep(2 * time.Minute)
		lag("while the log cannot be read", 80*time.Second, 2*time.Minute)
		l.set(func(l *memoryLog) { l.silent = false })
		time.Sleep(time.Minute)
		lag("at the end", 0, 0)
		if got := fmt.Sprint(c.got()); got != "[1]" {
			t.Errorf("got %s", got)
		}
	})
}
