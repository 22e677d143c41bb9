package ratelimit

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/clock"
)

const (
	minSecret      = 16
	defaultTimeout = 250 * time.Millisecond
	keyPrefix      = "mls:rl:"
)

// takeScript is bucket.take in Redis, on Redis' own clock, so that servers whose
// clocks differ share one bucket. A key lives until its bucket is full.
// KEYS[1] bucket; ARGV[1] interval, ARGV[2] capacity, in microseconds. It returns
// whether the request is allowed and in how many microseconds the bucket is full.
const takeScript = `
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, capacity = tonumber(ARGV[1]), tonumber(ARGV[2])
local fill = tonumber(redis.call('GET', KEYS[1]) or '0') - now
if fill < 0 then fill = 0 end
if fill > capacity then fill = capacity end
if fill + interval > capacity then return {0, fill} end
fill = fill + interval
redis.call('SET', KEYS[1], string.format('%.0f', now + fill), 'PX', math.ceil(fill / 1000))
return {1, fill}
`

// Redis counts in Redis, for all servers that share it. It is safe for
// concurrent use.
type Redis struct {
	client  redis.UniversalClient
	script  *redis.Script
	rates   map[string]bucket
	secret  []byte
	clock   clock.Clock
	timeout time.Duration
}

var _ Limiter = (*Redis)(nil)

// NewRedis returns a limiter that gives Redis at most 250 ms to answer. The
// secret, at least 16 bytes and the same for all servers, keys the hashes of
// subjects.
func NewRedis(client redis.UniversalClient, rates map[string]Rate, secret []byte, c clock.Clock) (*Redis, error) {
	b, err := buckets(rates)
	if err != nil {
		return nil, err
	}
	if len(secret) < minSecret {
		return nil, errors.New("ratelimit: the hash secret is shorter than 16 bytes")
	}
	if c == nil {
		c = clock.System
	}
	return &Redis{
		client: client, script: redis.NewScript(takeScript), rates: b, secret: append([]byte(nil), secret...), clock: c, timeout: defaultTimeout,
	}, nil
}

// Take implements Limiter.
func (r *Redis) Take(ctx context.Context, class, subject string) (Result, error) {
	b := pick(r.rates, class)
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	reply, err := r.script.Run(ctx, r.client, []string{r.key(class, subject)}, b.interval.Microseconds(), b.capacity.Microseconds()).Int64Slice()
	if err != nil {
		return Result{}, fmt.Errorf("ratelimit: redis: %w", err)
	}
	if len(reply) != 2 {
		return Result{}, errors.New("ratelimit: redis: unexpected reply")
	}
	return b.result(reply[0] == 1, r.clock.Now(), time.Duration(reply[1])*time.Microsecond), nil
}

// key is one per bucket, with a hash tag of its own, so that buckets spread over
// a cluster.
func (r *Redis) key(class, subject string) string {
	mac := hmac.New(sha256.New, r.secret)
	mac.Write([]byte("rate"))
	mac.Write([]byte(class))
	mac.Write([]byte{0})
	mac.Write([]byte(subject))
	return keyPrefix + "{" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:18]) + "}"
}
