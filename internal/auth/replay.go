package auth

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"mls-server/internal/clock"
)

// ReplayStore remembers used tokens.
type ReplayStore interface {
	// Use records key until expires and reports whether it was unknown before.
	// Of any number of concurrent calls with one key, one gets true. An error
	// means that nothing is known: the token must not be accepted on its strength.
	Use(ctx context.Context, key [32]byte, expires time.Time) (fresh bool, err error)
}

// ErrReplayStoreFull says that a MemoryReplays has no room for another token.
var ErrReplayStoreFull = errors.New("auth: store of used tokens is full")

const (
	maxReplayShards = 64
	minReplayShard  = 1024
	// sweepInterval is how often a shard drops what has expired.
	sweepInterval = 5 * time.Second
	// evictionSample is how many tokens are looked at to find one to forget.
	evictionSample = 16
)

// MemoryReplays remembers used tokens in this process, in bounded memory. On its
// own it protects a single process that is not restarted; in front of a shared
// store it is one more guard (see ReplayChain). It is safe for concurrent use.
type MemoryReplays struct {
	evict  bool
	clock  clock.Clock
	max    int // of a shard
	shards []replayShard
}

type replayShard struct {
	mu sync.Mutex
	// until maps half of a key, 128 bits of a keyed hash, to the Unix second from
	// which the token is forgotten. Both are small because there may be millions.
	until   map[[16]byte]uint32
	sweepAt int64 // Unix seconds
}

var _ ReplayStore = (*MemoryReplays)(nil)

// NewMemoryReplays returns a store for about maxTokens, each of some 40 bytes.
// When it is full of tokens that have not expired, Use returns
// ErrReplayStoreFull: it would rather turn callers away than forget.
func NewMemoryReplays(maxTokens int, c clock.Clock) *MemoryReplays {
	if c == nil {
		c = clock.System
	}
	n := min(max(maxTokens/minReplayShard, 1), maxReplayShards)
	m := &MemoryReplays{clock: c, max: max((maxTokens+n-1)/n, 1), shards: make([]replayShard, n)}
	for i := range m.shards {
		m.shards[i].until = map[[16]byte]uint32{}
	}
	return m
}

// Use implements ReplayStore.
func (m *MemoryReplays) Use(_ context.Context, key [32]byte, expires time.Time) (bool, error) {
	now := m.clock.Now().Unix()
	s, k := m.place(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if now >= s.sweepAt {
		s.sweep(now)
	}
	until, used := s.until[k]
	if used && int64(until) > now {
		return false, nil
	}
	if !used && len(s.until) >= m.max {
		if s.sweep(now); len(s.until) >= m.max {
			if !m.evict {
				return false, ErrReplayStoreFull
			}
			s.forgetOne()
		}
	}
	s.until[k] = ceilSecond(expires)
	return true, nil
}

// Len is how many tokens are remembered.
func (m *MemoryReplays) Len() int {
	now := m.clock.Now().Unix()
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		s.sweep(now)
		n += len(s.until)
		s.mu.Unlock()
	}
	return n
}

// forget drops key.
func (m *MemoryReplays) forget(key [32]byte) {
	s, k := m.place(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.until, k)
}

// place returns the shard of a key and what stands for the key in it.
func (m *MemoryReplays) place(key [32]byte) (*replayShard, [16]byte) {
	n := binary.LittleEndian.Uint64(key[16:])
	return &m.shards[n%uint64(len(m.shards))], [16]byte(key[:16])
}

func (s *replayShard) sweep(now int64) {
	for k, until := range s.until {
		if int64(until) <= now {
			delete(s.until, k)
		}
	}
	s.sweepAt = now + int64(sweepInterval/time.Second)
}

// forgetOne drops, of a few, the token that expires first.
func (s *replayShard) forgetOne() {
	var victim [16]byte
	var earliest uint32
	seen := 0
	for k, until := range s.until {
		if seen == 0 || until < earliest {
			victim, earliest = k, until
		}
		if seen++; seen == evictionSample {
			break
		}
	}
	delete(s.until, victim)
}

// ceilSecond rounds up to whole Unix seconds; the years 1970 to 2106 fit.
func ceilSecond(t time.Time) uint32 {
	return uint32(min(max(t.Add(time.Second-1).Unix(), 0), 1<<32-1))
}
