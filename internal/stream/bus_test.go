package stream_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/redistest"
	"mls-server/internal/stream"
)

type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(silent{}) // it complains of the servers that tests kill
	m.Run()
}

func runBus(t *testing.T, server *redistest.Server) *stream.RedisBus {
	t.Helper()
	bus := stream.NewRedisBus(server.Client(t))
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		bus.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return bus
}

// Hints cross Redis, and do so again after it was away. A process's own hints
// do not need it, and do not come back through it.
func TestRedisBus(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	a, b := runBus(t, server), runBus(t, server)
	hintsA, cancelA := a.Subscribe()
	defer cancelA()
	hintsB, cancelB := b.Subscribe()
	defer cancelB()
	crosses := func(what string) {
		t.Helper()
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			a.Hint()
			<-hintsA
			select {
			case <-hintsB:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		t.Fatalf("no hint crosses %s", what)
	}
	crosses("at the beginning")
	time.Sleep(100 * time.Millisecond)
	for drained := false; !drained; {
		select {
		case <-hintsA: // of the subscription itself
		default:
			drained = true
		}
	}
	a.Hint()
	<-hintsA
	select {
	case <-hintsA:
		t.Error("a hint came back to the process that gave it")
	case <-time.After(100 * time.Millisecond):
	}
	server.Kill()
	start := time.Now()
	for range 1000 {
		a.Hint()
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("hints without Redis took %v", took)
	}
	<-hintsA
	server.Restart(t)
	for drained := false; !drained; {
		select {
		case <-hintsB:
		default:
			drained = true
		}
	}
	crosses("after Redis was away")
}

// Two servers on one database: a stream on one sees what is sent to the
// other, at once by hints and within a second without.
func TestTwoServers(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	busA, busB := runBus(t, server), runBus(t, server)
	w := newWorld(t)
	convo := w.convo(t, "alice", "bob")
	w.store = w.open(t, busA.Hint)
	onA := w.hub(t, stream.Options{Bus: busA})
	onB := w.hub(t, stream.Options{Bus: busB, Log: w.open(t, nil)})
	w.caughtUp(t, onA)
	w.caughtUp(t, onB)
	streams := []*client{connect(t, onA, "bob").live(), connect(t, onB, "bob").live()}
	start := streams[0].position()
	w.send(t, convo, "alice")
	for _, c := range streams {
		c.want("1")
	}
	server.Kill()
	w.send(t, convo, "alice")
	for _, c := range streams {
		c.want("1", "2")
	}
	server.Restart(t)
	w.send(t, convo, "alice")
	for _, c := range streams {
		c.want("1", "2", "3")
	}
	// Servers read each other's cursors, and a position means the same on both.
	for i, f := range streams[0].got() {
		if other := streams[1].got()[i]; f != other {
			t.Errorf("event %d is %v on A and %v on B", i, f, other)
		}
	}
	connect(t, onB, "bob", at(start)).want("1", "2", "3")
}
