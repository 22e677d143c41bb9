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
// do not need it.
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
	server.Kill()
	for range 1000 {
		a.Hint() // does not wait for Redis
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

// A process knows its own hints by what they look like in Redis, and does not
// read the log twice for them.
func TestOwnHintsAreNotRepeated(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	a, b := stream.NewRedisBus(client), stream.NewRedisBus(client)
	hintsA, cancelA := a.Subscribe()
	defer cancelA()
	hintsB, cancelB := b.Subscribe()
	defer cancelB()
	sub := client.Subscribe(t.Context(), stream.HintChannel)
	defer func() { _ = sub.Close() }()
	receive := func() any {
		t.Helper()
		message, err := sub.ReceiveTimeout(t.Context(), patience)
		if err != nil {
			t.Fatal(err)
		}
		return message
	}
	receive() // the subscription itself
	if err := a.Publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	message := receive()
	a.Received(message)
	b.Received(message)
	if len(hintsA) != 0 {
		t.Error("a hint came back to the process that gave it")
	}
	if len(hintsB) != 1 {
		t.Error("a hint did not reach another process")
	}
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

// A server knows whether it is alone: when it has counted, and at once when another
// starts.
func TestAlone(t *testing.T) {
	t.Parallel()
	client := redistest.Start(t).Client(t)
	until := func(what string, b *stream.RedisBus, want bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); b.Alone() != want; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: Alone is %v", what, !want)
			}
		}
	}
	run := func(b *stream.RedisBus) (stop func()) {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.Run(ctx)
		}()
		return func() {
			cancel()
			<-done
		}
	}
	first, second := stream.NewRedisBus(client), stream.NewRedisBus(client)
	if first.Alone() {
		t.Error("alone before it has counted")
	}
	defer run(first)()
	until("one server", first, true)
	stop := run(second)
	until("another has started", first, false)
	if second.Alone() {
		t.Error("the second server is alone")
	}
	stop()
	until("the other has stopped", first, true)
}
