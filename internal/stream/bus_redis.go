package stream

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
)

const (
	// hintChannel is where servers of one Redis tell each other that the log has
	// grown. A message holds the random name of the process that sent it, by
	// which that process knows its own: no identity passes through Redis (I9).
	hintChannel = "mls:hints"
	// hintTimeout bounds one publication, hintPause is what follows a failed one.
	hintTimeout = 250 * time.Millisecond
	hintPause   = 500 * time.Millisecond
	// hintSilence is when an idle subscription is checked by a ping.
	hintSilence = 5 * time.Second
	// countPause is how often a server counts how many there are.
	countPause = 5 * time.Second
)

// RedisBus carries hints between the servers of one Redis, by pub/sub, and
// within the process without it. While Redis is away, the tailers of other
// servers poll.
type RedisBus struct {
	*LocalBus
	client  redis.UniversalClient
	name    string
	publish chan struct{}

	subscribed, alone atomic.Bool
	foreign           atomic.Int64 // hints of other servers
	recount           chan struct{}
}

// NewRedisBus returns a bus that carries nothing to other servers until Run.
func NewRedisBus(client redis.UniversalClient) *RedisBus {
	return &RedisBus{LocalBus: NewLocalBus(), client: client, name: rand.Text(), publish: make(chan struct{}, 1), recount: make(chan struct{}, 1)}
}

// Hint implements Bus. The process's own tailer is woken at once; hints to
// the others are merged while one is under way.
func (b *RedisBus) Hint() {
	b.LocalBus.Hint()
	poke(b.publish)
}

// Run publishes and receives hints until ctx ends. It never fails: a lost
// connection is made again.
func (b *RedisBus) Run(ctx context.Context) {
	poke(b.publish) // so that the others know of this server at once
	var wg sync.WaitGroup
	for _, run := range []func(context.Context){b.receive, b.send, b.count} {
		wg.Go(func() { run(ctx) })
	}
	wg.Wait()
}

func (b *RedisBus) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.publish:
		}
		if err := b.publishOnce(ctx); err != nil {
			_ = clock.Pause(ctx, hintPause) // the loop looks at ctx
		}
	}
}

func (b *RedisBus) publishOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, hintTimeout)
	defer cancel()
	return b.client.Publish(ctx, hintChannel, b.name).Err()
}

func (b *RedisBus) receive(ctx context.Context) {
	listen(ctx, b.client, hintChannel, b.received, func() { b.subscribed.Store(false) })
}

// listen keeps a subscription. The subscription connects again by itself; a
// ping after a silence finds connections that died without a word. lost is called for each failure.
func listen(ctx context.Context, client redis.UniversalClient, channel string, received func(message any), lost func()) {
	sub := client.Subscribe(ctx, channel)
	closeNow := func() { _ = sub.Close() } // nothing is buffered in it
	defer closeNow()
	// A read under way does not see the end of ctx.
	defer context.AfterFunc(ctx, closeNow)()
	for ctx.Err() == nil {
		message, err := sub.ReceiveTimeout(ctx, hintSilence)
		switch {
		case isTimeout(err):
			if err := sub.Ping(ctx); err != nil {
				lost()
				_ = clock.Pause(ctx, hintPause) // the loop looks at ctx
			}
		case err != nil:
			lost()
			_ = clock.Pause(ctx, hintPause) // the loop looks at ctx
		default:
			received(message)
		}
	}
}

// count keeps alone. It counts when this server's own subscription stands, else the
// one that listens may be another. A server that starts sends a hint, so that the
// others need not wait for their next count.
func (b *RedisBus) count(ctx context.Context) {
	for ctx.Err() == nil {
		before := b.foreign.Load()
		n, err := b.client.PubSubNumSub(ctx, hintChannel).Result()
		alone := err == nil && n[hintChannel] == 1 && b.subscribed.Load()
		b.alone.Store(alone && b.foreign.Load() == before)
		timer := time.NewTimer(countPause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-b.recount:
		}
		timer.Stop()
	}
}

// Alone reports whether no other server listens to hints, as far as this one knows:
// not before it has counted, nor while Redis does not answer.
func (b *RedisBus) Alone() bool { return b.alone.Load() }

// received passes on hints of other processes. A process has its own already.
func (b *RedisBus) received(message any) {
	switch message := message.(type) {
	case *redis.Message:
		if message.Payload != b.name {
			b.foreign.Add(1)
			b.alone.Store(false)
			b.LocalBus.Hint()
		}
	case *redis.Subscription:
		b.subscribed.Store(true)
		poke(b.recount)
		b.LocalBus.Hint() // hints before it were missed
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
