package ratelimit

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"mls-server/internal/clock"
)

const (
	shardCount = 64
	// defaultBuckets bounds a Memory at some 10 MB.
	defaultBuckets = 1 << 17
	// evictionSample is how many buckets are looked at to find one to drop.
	evictionSample = 32
)

// Memory counts in this process. It is safe for concurrent use.
type Memory struct {
	rates map[string]bucket
	clock clock.Clock
	seeds [2]maphash.Seed
	max   int // of a shard

	shards [shardCount]shard
}

type shard struct {
	mu sync.Mutex
	// full maps to the time at which a bucket is full again, in Unix nanoseconds.
	// A bucket that is full is the same as none.
	full map[bucketKey]int64
}

// bucketKey is a hash of class and subject under two seeds that nobody outside
// the process knows, so keys have one size and collisions cannot be looked for.
type bucketKey [2]uint64

var _ Limiter = (*Memory)(nil)

// NewMemory returns a limiter that keeps at most maxBuckets, 0 means 131072. When
// there are more, those that are nearly full are forgotten first.
func NewMemory(rates map[string]Rate, maxBuckets int, c clock.Clock) (*Memory, error) {
	b, err := buckets(rates)
	if err != nil {
		return nil, err
	}
	if maxBuckets <= 0 {
		maxBuckets = defaultBuckets
	}
	if c == nil {
		c = clock.System
	}
	m := &Memory{rates: b, clock: c, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, max: max(maxBuckets/shardCount, 1)}
	for i := range m.shards {
		m.shards[i].full = map[bucketKey]int64{}
	}
	return m, nil
}

// Take implements Limiter. It never returns an error.
func (m *Memory) Take(_ context.Context, class, subject string) (Result, error) {
	b, k := pick(m.rates, class), m.key(class, subject)
	now := m.clock.Now()
	s := &m.shards[k[0]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()

	at, known := s.full[k]
	var fill time.Duration
	if known {
		fill = time.Duration(at - now.UnixNano())
	}
	fill, allowed := b.take(fill)
	if allowed {
		if !known && len(s.full) >= m.max {
			s.evict(now.UnixNano())
		}
		s.full[k] = now.UnixNano() + int64(fill)
	}
	return b.result(allowed, now, fill), nil
}

// refund gives back what an allowed Take took.
func (m *Memory) refund(class, subject string) {
	b, k := pick(m.rates, class), m.key(class, subject)
	s := &m.shards[k[0]%shardCount]
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.full[k]; ok {
		s.full[k] = at - int64(b.interval)
	}
}

// Len is how many buckets are kept.
func (m *Memory) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.full)
		s.mu.Unlock()
	}
	return n
}

func (m *Memory) key(class, subject string) (k bucketKey) {
	var h maphash.Hash
	for i, seed := range m.seeds {
		h.SetSeed(seed)
		_, _ = h.WriteString(class)
		_ = h.WriteByte(0)
		_, _ = h.WriteString(subject)
		k[i] = h.Sum64()
	}
	return k
}

// evict makes room: of a sample it drops the buckets that are full by now, or
// else the fullest, whose subject loses the least of its past.
func (s *shard) evict(now int64) {
	seen, dropped := 0, false
	var victim bucketKey
	var earliest int64
	for k, at := range s.full {
		if at <= now {
			delete(s.full, k)
			dropped = true
		} else if victim == (bucketKey{}) || at < earliest {
			victim, earliest = k, at
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	if !dropped {
		delete(s.full, victim)
	}
}
