package ratelimit

import (
	"context"
	"encoding/base64"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

const (
	keyPrefix = "mls:rl:"
	// window is for how long a bucket has the same key.
	window = time.Minute
	// windowSlack is how long a key outlives its window: clocks of servers differ.
	windowSlack = 2 * time.Second
)

// takeScript is bucket.take in Redis, on Redis' own clock, so that servers whose
// clocks differ share one bucket. A key lives until its bucket is full or its
// window is over.
// KEYS[1] bucket; ARGV in microseconds: [1] price, [2] capacity, [3] in how long
// the bucket is full when Redis does not know it, [4] what is left of the window.
// It returns whether the request is allowed and in how long the bucket is full.
var takeScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local price, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local full = redis.call('GET', KEYS[1])
local fill = full and tonumber(full) - now or tonumber(ARGV[3])
if fill < 0 then fill = 0 end
if fill > capacity then fill = capacity end
if fill + price > capacity then return {0, fill} end
fill = fill + price
redis.call('SET', KEYS[1], string.format('%.0f', now + fill), 'PX', math.ceil(math.min(fill, tonumber(ARGV[4])) / 1000))
return {1, fill}
`)

// giveScript is bucket.give. A bucket that Redis does not know is full, or of another window.
// KEYS[1] bucket; ARGV in microseconds: [1] price, [2] what is left of the window.
var giveScript = redis.NewScript(`
local full = redis.call('GET', KEYS[1])
if not full then return {0} end
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local fill = tonumber(full) - now - tonumber(ARGV[1])
if fill < 1000 then redis.call('DEL', KEYS[1]) return {1} end
redis.call('SET', KEYS[1], string.format('%.0f', now + fill), 'PX', math.ceil(math.min(fill, tonumber(ARGV[2])) / 1000))
return {1}
`)

// SharedConfig configures a Shared. All fields are required.
type SharedConfig struct {
	// Own is what this process counts.
	Own   *Memory
	Redis *shared.Redis
	// Hasher makes the keys; its secret is the same on all servers.
	Hasher *shared.Hasher
	// Private reports whether a class is counted by this process alone, for as long
	// as it is the only one.
	Private func(class string) bool
	// OnAway is called for each request that Redis did not count, with what it said,
	// or with shared.ErrAway when it was not asked.
	OnAway func(error)
	Clock  clock.Clock
}

// Shared counts in Redis for all servers, and in this process too. The process
// knows of each bucket at least what it has counted itself, and what Redis said
// last: neither an outage nor a Redis that comes back empty gives anybody a fresh
// allowance here.
//
// A bucket's key in Redis changes every minute, so that no pseudonym outlives it
// (I7). Nothing in Redis leads from one key to the next: what was used before
// comes from the servers' own memory, in whole tokens, which many buckets share.
// It is safe for concurrent use.
type Shared struct {
	cfg    SharedConfig
	prefer *shared.Prefer
}

var _ Limiter = (*Shared)(nil)

// NewShared returns a limiter over both.
func NewShared(cfg SharedConfig) *Shared {
	return &Shared{cfg: cfg, prefer: shared.NewPrefer(cfg.Clock, cfg.OnAway)}
}

// Peek implements Limiter.
func (s *Shared) Peek(class, subject string) Result { return s.cfg.Own.Peek(class, subject) }

// Take implements Limiter.
func (s *Shared) Take(ctx context.Context, class, subject string, cost int) Result {
	own, used := s.cfg.Own.look(class, subject, cost)
	if !own.Allowed {
		return own // what this process knows is enough to refuse
	}
	if s.cfg.Private(class) {
		return s.cfg.Own.Take(ctx, class, subject, cost)
	}
	var allowed bool
	var fill time.Duration
	err := s.prefer.Ask(ctx, func() (err error) {
		allowed, fill, err = s.takeAll(ctx, class, subject, cost, used)
		return err
	})
	if err != nil {
		return s.cfg.Own.Take(ctx, class, subject, cost)
	}
	return s.cfg.Own.learn(class, subject, cost, allowed, fill)
}

// Give implements Limiter. What Redis does not put back is lost to the caller until it flows in.
func (s *Shared) Give(ctx context.Context, class, subject string, cost int) {
	s.cfg.Own.Give(ctx, class, subject, cost)
	if s.cfg.Private(class) {
		return
	}
	_ = s.prefer.Ask(ctx, func() error { // counted by OnAway
		now := s.cfg.Clock.Now()
		_, err := s.cfg.Redis.Run(ctx, giveScript, []string{s.key(class, subject, now)},
			pick(s.cfg.Own.rates, class).price(cost).Microseconds(), windowLeft(now).Microseconds())
		return err
	})
}

// windowLeft is how long a key of the present window lives.
func windowLeft(now time.Time) time.Duration {
	return window - now.Sub(now.Truncate(window)) + windowSlack
}

// takeAll counts in Redis.
func (s *Shared) takeAll(ctx context.Context, class, subject string, cost, used int) (allowed bool, fill time.Duration, err error) {
	b := pick(s.cfg.Own.rates, class)
	now := s.cfg.Clock.Now()
	left := windowLeft(now)
	reply, err := s.cfg.Redis.Run(ctx, takeScript, []string{s.key(class, subject, now)},
		b.price(cost).Microseconds(), b.capacity.Microseconds(), (b.interval * time.Duration(used)).Microseconds(), left.Microseconds())
	if err != nil {
		return false, 0, err
	}
	if len(reply) != 2 {
		return false, 0, errors.New("ratelimit: redis: unexpected reply")
	}
	return reply[0] == 1, time.Duration(reply[1]) * time.Microsecond, nil
}

// key is one per bucket and window, with a hash tag of its own, so that buckets
// spread over a cluster.
func (s *Shared) key(class, subject string, now time.Time) string {
	sum := s.cfg.Hasher.Sum(shared.PurposeRate, class, subject, strconv.FormatInt(now.Unix()/int64(window/time.Second), 10))
	return keyPrefix + "{" + base64.RawURLEncoding.EncodeToString(sum[:18]) + "}"
}
