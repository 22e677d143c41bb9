// Package ratelimit counts requests with token buckets, in this process or in
// Redis for all servers of a deployment together.
//
// Invariants it keeps:
//   - memory is bounded, however many subjects there are;
//   - when Redis fails, the process counts by itself: no request fails and no
//     limit opens, and Redis is used again as soon as it answers;
//   - Redis sees keyed hashes of subjects only, with a life of at most the time
//     that a bucket needs to fill up (I7, I9);
//   - an address in X-Forwarded-For counts only when a trusted proxy put it there.
//
// The buckets are kept as one number each, the time at which the bucket will be
// full again (the generic cell rate algorithm). The package must not know HTTP
// beyond the address of a request, and must not log.
package ratelimit

import (
	"context"
	"fmt"
	"time"
)

// The classes that exist in every configuration. The others are named by the
// method table.
const (
	// ClassDefault is drawn from by classes that have no rate of their own.
	ClassDefault = "default"
	// ClassIP is drawn from by requests without an authenticated caller that cost work,
	// per address. Nothing is read of a request from an address that has used it up.
	ClassIP = "ip"
	// ClassRefused is drawn from by the other requests without an authenticated
	// caller, per address.
	ClassRefused = "refused"
)

// MaxRate is the largest number that a Rate may hold.
const MaxRate = 1_000_000

// Rate is a token bucket: PerMinute tokens flow in evenly, at most Burst are
// kept. Where both are equal, a caller who was silent may send a minute's worth
// at once.
type Rate struct {
	PerMinute, Burst int
}

// Valid reports whether both numbers are between 1 and MaxRate.
func (r Rate) Valid() bool {
	return r.PerMinute >= 1 && r.PerMinute <= MaxRate && r.Burst >= 1 && r.Burst <= MaxRate
}

// Result is the state of a bucket after a request was counted, or refused. A
// refused request takes nothing.
type Result struct {
	// Allowed says whether there was a token left.
	Allowed bool
	// Limit is the size of the bucket, Remaining what is left in it.
	Limit, Remaining int
	// Window is how long an empty bucket takes to fill up.
	Window time.Duration
	// Reset is when the bucket will be full.
	Reset time.Time
	// RetryAfter is how long a refused caller has to wait, in whole seconds, at
	// least one; 0 when the request was allowed.
	RetryAfter time.Duration
}

// Limiter counts what callers do. It never fails: one that loses its shared
// store counts by itself.
type Limiter interface {
	// Take takes cost tokens, at least one, from the bucket of subject in the
	// class. An unknown class draws from the default rate, in a bucket of its own.
	// A cost above the burst is never allowed.
	Take(ctx context.Context, class, subject string, cost int) Result
	// Give puts back tokens that were taken for a request which draws from another class.
	Give(ctx context.Context, class, subject string, cost int)
	// Peek is the state of a bucket as this process knows it: Allowed says whether
	// a token is left. It takes nothing and asks nobody.
	Peek(class, subject string) Result
}

// bucket is a Rate in the terms of the algorithm.
type bucket struct {
	burst    int
	interval time.Duration // between two tokens
	capacity time.Duration // between empty and full
}

// buckets checks rates and prepares them.
func buckets(rates map[string]Rate) (map[string]bucket, error) {
	if _, ok := rates[ClassDefault]; !ok {
		return nil, fmt.Errorf("ratelimit: no rate for class %q", ClassDefault)
	}
	out := make(map[string]bucket, len(rates))
	for class, r := range rates {
		if !r.Valid() {
			return nil, fmt.Errorf("ratelimit: class %q: rate and burst must be between 1 and %d", class, MaxRate)
		}
		// Whole microseconds: what Redis counts in.
		interval := (time.Minute / time.Duration(r.PerMinute)).Truncate(time.Microsecond)
		out[class] = bucket{burst: r.Burst, interval: interval, capacity: interval * time.Duration(r.Burst)}
	}
	return out, nil
}

func pick(m map[string]bucket, class string) bucket {
	if b, ok := m[class]; ok {
		return b
	}
	return m[ClassDefault]
}

// result describes a bucket that will be full in fill, after cost tokens were
// taken from it or asked for in vain.
func (b bucket) result(allowed bool, now time.Time, fill time.Duration, cost int) Result {
	r := Result{Allowed: allowed, Limit: b.burst, Window: b.capacity, Reset: now.Add(fill)}
	if allowed {
		r.Remaining = int((b.capacity - fill) / b.interval)
		return r
	}
	wait := fill + b.price(cost) - b.capacity
	r.RetryAfter = max((wait + time.Second - 1).Truncate(time.Second), time.Second)
	return r
}

// take decides for a bucket that would be full in fill. It returns the new
// value, unchanged when the request is refused.
func (b bucket) take(fill time.Duration, cost int) (time.Duration, bool) {
	fill = min(max(fill, 0), b.capacity)
	if price := b.price(cost); fill+price <= b.capacity {
		return fill + price, true
	}
	return fill, false
}

// give is take undone.
func (b bucket) give(fill time.Duration, cost int) time.Duration {
	return max(min(fill, b.capacity)-b.price(cost), 0)
}

// price is the time that cost tokens take to flow in, at most a token more than
// the whole bucket.
func (b bucket) price(cost int) time.Duration {
	return b.interval * time.Duration(min(max(cost, 1), b.burst+1))
}
