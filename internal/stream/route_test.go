package stream_test

import (
	"context"
	"fmt"
	"testing"

	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/internal/stream"
)

// heldLog keeps the start of a stream waiting between the moment from which
// its user's moves are noted and the look at the roster.
type heldLog struct {
	stream.Log
	// asked receives when a stream is about to look, which waits for go.
	asked, proceed chan struct{}
}

func (l *heldLog) StreamConvos(ctx context.Context, user mls.DID, at store.LogCursor) ([]store.StreamConvo, error) {
	l.asked <- struct{}{}
	<-l.proceed
	return l.Log.StreamConvos(ctx, user, at)
}

// I10: what the log says of a user's membership while a stream of the user
// begins holds over the roster as it was before.
func TestMovesWhileAStreamBegins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	log := &heldLog{w.store, make(chan struct{}), make(chan struct{})}
	h := w.hub(t, stream.Options{Log: log})
	convo := w.convo(t, "alice", "bob", "dave")
	w.caughtUp(t, h)
	start := func(name string) *client {
		c := connect(t, h, name)
		<-log.asked
		return c
	}
	bob, carol, dave := start("bob"), start("carol"), start("dave")
	w.remove(t, convo, "bob")
	w.join(t, convo, "carol")
	w.remove(t, convo, "dave")
	w.join(t, convo, "dave")
	w.caughtUp(t, h)
	close(log.proceed)
	for _, c := range []*client{bob, carol, dave} {
		c.live()
	}
	w.send(t, convo, "alice") // 1
	// What ends the wait for something that must not come: an event of bob's own
	// after it.
	w.event(t, convo, store.NewEvent{Kind: store.EventWelcome, Audience: store.ToUser, AudienceDID: did("bob")})
	carol.want("1")
	dave.want("1")
	bob.want("welcome-available")
	if got := fmt.Sprint(bob.got()); got != "[welcome-available]" {
		t.Errorf("a removed user got %s", got)
	}
}
