package ratelimit

import (
	"context"
	"encoding/base64"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

const keyPrefix = "mls:rl:"

// takeScript is bucket.take in Redis, on Redis' own clock, so that servers whose
// clocks differ share one bucket. A key lives until its bucket is full.
// KEYS[1] bucket; ARGV[1] price, ARGV[2] capacity, in microseconds. It returns
// whether the request is allowed and in how many microseconds the bucket is full.
var takeScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local price, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local fill = tonumber(redis.call('GET', KEYS[1]) or '0') - now
if fill < 0 then fill = 0 end
if fill > capacity then fill = capacity end
if fill + price > capacity then return {0, fill} end
fill = fill + price
redis.call('SET', KEYS[1], string.format('%.0f', now + fill), 'PX', math.ceil(fill / 1000))
return {1, fill}
`)

// Shared counts in Redis for all servers, and in this process too. The process'
// own count is what remains while Redis is away; it is never behind, so neither
// an outage nor a Redis that comes back empty gives anybody a fresh allowance
// here. It is safe for concurrent use.
type Shared struct {
	own    *Memory
	redis  *shared.Redis
	hasher *shared.Hasher
	clock  clock.Clock
	prefer *shared.Prefer
}

var _ Limiter = (*Shared)(nil)

// NewShared returns a limiter over both. The hasher, under one secret on all
// servers, makes the keys. onAway is called for each request that Redis did not
// count.
func NewShared(own *Memory, r *shared.Redis, hasher *shared.Hasher, c clock.Clock, onAway func()) *Shared {
	return &Shared{own: own, redis: r, hasher: hasher, clock: c, prefer: shared.NewPrefer(c, onAway)}
}

// Peek implements Limiter.
func (s *Shared) Peek(class, subject string) Result { return s.own.Peek(class, subject) }

// Take implements Limiter.
func (s *Shared) Take(ctx context.Context, class, subject string, cost int) Result {
	own := s.own.Take(ctx, class, subject, cost)
	if !own.Allowed {
		// This process alone has used the allowance up, so all together have.
		return own
	}
	var all Result
	err := s.prefer.Ask(ctx, func() (err error) {
		all, err = s.takeAll(ctx, class, subject, cost)
		return err
	})
	switch {
	case err != nil:
		return own
	case !all.Allowed:
		s.own.refund(class, subject, cost)
	case own.Remaining < all.Remaining:
		return own
	}
	return all
}

// takeAll counts in Redis.
func (s *Shared) takeAll(ctx context.Context, class, subject string, cost int) (Result, error) {
	b := pick(s.own.rates, class)
	reply, err := s.redis.Run(ctx, takeScript, []string{s.key(class, subject)}, b.price(cost).Microseconds(), b.capacity.Microseconds())
	if err != nil {
		return Result{}, err
	}
	if len(reply) != 2 {
		return Result{}, errors.New("ratelimit: redis: unexpected reply")
	}
	return b.result(reply[0] == 1, s.clock.Now(), time.Duration(reply[1])*time.Microsecond, cost), nil
}

// key is one per bucket, with a hash tag of its own, so that buckets spread over
// a cluster.
func (s *Shared) key(class, subject string) string {
	sum := s.hasher.Sum(shared.PurposeRate, class, subject)
	return keyPrefix + "{" + base64.RawURLEncoding.EncodeToString(sum[:18]) + "}"
}
