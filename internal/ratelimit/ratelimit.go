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
	// ClassIP is drawn from by requests without an authenticated caller, per address.
	ClassIP = "ip"
)

// Rate is a token bucket: PerMinute tokens flow in evenly, at most Burst are kept.
// Both are at least 1 and at most a million.
type Rate struct {
	PerMinute, Burst int
}

// DefaultRates returns the rates of a server that was not told otherwise. Where
// the burst equals the rate, a caller who was silent may send a minute's worth at once.
func DefaultRates() map[string]Rate {
	return map[string]Rate{
		"sendMessage":       {100, 100},
		"publishKeyPackage": {20, 20},
		"addMembers":        {10, 10},
		"removeMember":      {10, 10},
		"createConvo":       {5, 20},
		"reportMember":      {5, 5},
		ClassDefault:        {200, 200},
		ClassIP:             {60, 30},
	}
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

// Limiter counts requests.
type Limiter interface {
	// Take counts one request of subject in the class. An unknown class draws
	// from the default rate, in a bucket of its own. An error means that nothing
	// was counted.
	Take(ctx context.Context, class, subject string) (Result, error)
}

// bucket is a Rate in the terms of the algorithm.
type bucket struct {
	burst    int
	interval time.Duration // between two tokens
	capacity time.Duration // between empty and full
}

const maxRate = 1_000_000

// buckets checks rates and prepares them.
func buckets(rates map[string]Rate) (map[string]bucket, error) {
	if _, ok := rates[ClassDefault]; !ok {
		return nil, fmt.Errorf("ratelimit: no rate for class %q", ClassDefault)
	}
	out := make(map[string]bucket, len(rates))
	for class, r := range rates {
		if r.PerMinute < 1 || r.PerMinute > maxRate || r.Burst < 1 || r.Burst > maxRate {
			return nil, fmt.Errorf("ratelimit: class %q: rate and burst must be between 1 and %d", class, maxRate)
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

// result describes a bucket that will be full in fill.
func (b bucket) result(allowed bool, now time.Time, fill time.Duration) Result {
	r := Result{Allowed: allowed, Limit: b.burst, Window: b.capacity, Reset: now.Add(fill)}
	if allowed {
		r.Remaining = int((b.capacity - fill) / b.interval)
		return r
	}
	wait := fill + b.interval - b.capacity
	r.RetryAfter = max((wait + time.Second - 1).Truncate(time.Second), time.Second)
	return r
}

// take decides for a bucket that would be full in fill. It returns the new
// value, unchanged when the request is refused.
func (b bucket) take(fill time.Duration) (time.Duration, bool) {
	fill = min(max(fill, 0), b.capacity)
	if fill+b.interval > b.capacity {
		return fill, false
	}
	return fill + b.interval, true
}
