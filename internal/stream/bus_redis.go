package stream

import (
	"context"
	"crypto/rand"
	"errors"
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
)

// RedisBus carries hints between the servers of one Redis, by pub/sub, and
// within the process without it. While Redis is away, the tailers of other
// servers poll.
type RedisBus struct {
	*LocalBus
	client  redis.UniversalClient
	name    string
	publish chan struct{}
}

// NewRedisBus returns a bus that carries nothing to other servers until Run.
func NewRedisBus(client redis.UniversalClient) *RedisBus {
	return &RedisBus{LocalBus: NewLocalBus(), client: client, name: rand.Text(), publish: make(chan struct{}, 1)}
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
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.receive(ctx)
	}()
	b.send(ctx)
	<-done
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

// receive keeps a subscription. The subscription connects again by itself; a
// ping after a silence finds connections that died without a word.
func (b *RedisBus) receive(ctx context.Context) {
	sub := b.client.Subscribe(ctx, hintChannel)
	closeNow := func() { _ = sub.Close() } // nothing is buffered in it
	defer closeNow()
	// A read under way does not see the end of ctx.
	defer context.AfterFunc(ctx, closeNow)()
	for ctx.Err() == nil {
		message, err := sub.ReceiveTimeout(ctx, hintSilence)
		switch {
		case isTimeout(err):
			if err := sub.Ping(ctx); err != nil {
				_ = clock.Pause(ctx, hintPause) // the loop looks at ctx
			}
		case err != nil:
			_ = clock.Pause(ctx, hintPause) // the loop looks at ctx
		default:
			b.received(message)
		}
	}
}

// Servers is how many servers listen to hints, this one included, as Redis knows.
func (b *RedisBus) Servers(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, hintTimeout)
	defer cancel()
	n, err := b.client.PubSubNumSub(ctx, hintChannel).Result()
	return int(n[hintChannel]), err
}

// received passes on hints of other processes. A process has its own already.
func (b *RedisBus) received(message any) {
	switch message := message.(type) {
	case *redis.Message:
		if message.Payload != b.name {
			b.LocalBus.Hint()
		}
	case *redis.Subscription:
		b.LocalBus.Hint() // hints before it were missed
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
