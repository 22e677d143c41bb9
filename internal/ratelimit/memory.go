package ratelimit

import (
	"context"
	"encoding/binary"
	"hash/maphash"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

// maxBuckets bounds a Memory at some 10 MB.
const maxBuckets = 200_000

// Memory counts in this process. It is safe for concurrent use.
type Memory struct {
	rates map[string]bucket
	clock clock.Clock
	seeds [2]maphash.Seed
	// full maps to the time at which a bucket is full again. A bucket that is full
	// is the same as none, and one that is nearly full has the least to say.
	full *shared.Bounded
}

var _ Limiter = (*Memory)(nil)

// NewMemory returns a limiter that keeps at most 200,000 buckets. When there are
// more, those that are nearly full are forgotten first.
func NewMemory(rates map[string]Rate, c clock.Clock) (*Memory, error) {
	b, err := buckets(rates)
	if err != nil {
		return nil, err
	}
	return &Memory{
		rates: b, clock: c, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
		full: shared.NewBounded(maxBuckets, shared.Forget, c),
	}, nil
}

// Take implements Limiter.
func (m *Memory) Take(_ context.Context, class, subject string, cost int) (r Result) {
	b := pick(m.rates, class)
	m.change(class, subject, func(now, full time.Time) time.Time {
		fill, allowed := b.take(full.Sub(now), cost)
		r = b.result(allowed, now, fill, cost)
		return now.Add(fill)
	})
	return r
}

// Give implements Limiter.
func (m *Memory) Give(_ context.Context, class, subject string, cost int) {
	b := pick(m.rates, class)
	m.change(class, subject, func(now, full time.Time) time.Time { return now.Add(b.give(full.Sub(now), cost)) })
}

// Peek implements Limiter.
func (m *Memory) Peek(class, subject string) Result {
	r, _ := m.look(class, subject, 1)
	return r
}

// look says what would become of a Take, without taking, and how many tokens are
// missing from the bucket, to the nearest.
func (m *Memory) look(class, subject string, cost int) (r Result, used int) {
	b := pick(m.rates, class)
	m.change(class, subject, func(now, full time.Time) time.Time {
		fill := min(full.Sub(now), b.capacity)
		_, allowed := b.take(fill, cost)
		r, used = b.result(allowed, now, fill, cost), int((fill+b.interval/2)/b.interval)
		return full
	})
	return r, used
}

// learn notes what all servers together have counted, this request included: the
// bucket will be full in fill, if not later by this process' own count.
func (m *Memory) learn(class, subject string, cost int, allowed bool, fill time.Duration) (r Result) {
	b := pick(m.rates, class)
	m.change(class, subject, func(now, full time.Time) time.Time {
		counted := full.Sub(now)
		if allowed {
			counted += b.price(cost)
		}
		fill = min(max(fill, counted), b.capacity)
		r = b.result(allowed, now, fill, cost)
		return now.Add(fill)
	})
	return r
}

// change changes when a bucket is full.
func (m *Memory) change(class, subject string, decide func(now, full time.Time) time.Time) {
	_ = m.full.Change(m.key(class, subject), decide) // a map that forgets is never full
}

// Len is how many buckets are kept.
func (m *Memory) Len() int { return m.full.Len() }

// key is a hash of class and subject under two seeds that nobody outside the
// process knows.
func (m *Memory) key(class, subject string) (k shared.Key) {
	var h maphash.Hash
	for i, seed := range m.seeds {
		h.SetSeed(seed)
		_, _ = h.WriteString(class)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(subject)
		binary.LittleEndian.PutUint64(k[8*i:], h.Sum64())
	}
	return k
}
