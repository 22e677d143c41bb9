package stream

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
)

const (
	// relayChannel is where servers of one Redis give each other what is stored nowhere, behind the
	// random name of the process that sends it. Its connection is not that of hints, which are not
	// to be lost when Redis finds a server too slow for it.
	relayChannel = "mls:passing"
	// relayQueue is how many payloads wait to be sent, or to be taken.
	relayQueue = 128
)

// RedisRelay is a Relay by pub/sub, which keeps nothing. While Redis is away, everything is lost.
type RedisRelay struct {
	bus     *RedisBus
	out, in chan []byte
}

var _ Relay = (*RedisRelay)(nil)

// NewRedisRelay returns a relay beside the bus of a process, which carries nothing until Run.
func NewRedisRelay(bus *RedisBus) *RedisRelay {
	return &RedisRelay{bus: bus, out: make(chan []byte, relayQueue), in: make(chan []byte, relayQueue)}
}

// Alone implements Relay.
func (r *RedisRelay) Alone() bool { return r.bus.Alone() }

// Payloads implements Relay.
func (r *RedisRelay) Payloads() <-chan []byte { return r.in }

// Send implements Relay.
func (r *RedisRelay) Send(payload []byte) {
	select {
	case r.out <- payload:
	default: // Redis is slow or away
	}
}

// Run sends and receives until ctx ends. It never fails: a lost connection is made again.
func (r *RedisRelay) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { r.send(ctx) })
	wg.Go(func() { listen(ctx, r.bus.client, relayChannel, r.take, func() {}) })
	wg.Wait()
}

func (r *RedisRelay) send(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case payload := <-r.out:
			if r.publish(ctx, payload) == nil {
				continue
			}
		}
		_ = clock.Pause(ctx, hintPause) // the loop looks at ctx
		for len(r.out) > 0 {
			<-r.out // by the time that Redis is there again it means nothing
		}
	}
}

func (r *RedisRelay) publish(ctx context.Context, payload []byte) error {
	ctx, cancel := context.WithTimeout(ctx, hintTimeout)
	defer cancel()
	return r.bus.client.Publish(ctx, relayChannel, r.bus.name+string(payload)).Err()
}

// take keeps what other processes have sent.
func (r *RedisRelay) take(message any) {
	m, ok := message.(*redis.Message)
	if !ok || len(m.Payload) < len(r.bus.name) || strings.HasPrefix(m.Payload, r.bus.name) {
		return
	}
	select {
	case r.in <- []byte(m.Payload[len(r.bus.name):]):
	default:
	}
}
