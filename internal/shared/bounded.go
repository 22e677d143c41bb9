package shared

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"mls-server/internal/clock"
)

// Key names an entry of a Bounded map: 16 bytes of a hash under a secret or a
// seed, so that keys have one size and collisions cannot be looked for.
type Key [16]byte

// ErrFull says that a map which does not forget has no room for another key.
var ErrFull = errors.New("shared: the map is full")

// WhenFull says what a Bounded map does when there is no room for another key.
type WhenFull bool

const (
	// Refuse makes Change return ErrFull.
	Refuse WhenFull = false
	// Forget drops, of a few entries, the one that would end first.
	Forget WhenFull = true
)

const (
	maxShards = 64
	minShard  = 1024
	// sweepInterval is how often a shard drops what has ended.
	sweepInterval = 5 * time.Second
	// forgetSample is how many entries are looked at to find one to forget.
	forgetSample = 32
)

// Bounded maps keys to the moment at which they end, each in some 50 bytes. An
// entry that has ended is the same as none. It is safe for concurrent use.
type Bounded struct {
	whenFull WhenFull
	clock    clock.Clock
	max      int // of a shard
	shards   []shard
}

type shard struct {
	mu      sync.Mutex
	ends    map[Key]int64 // Unix nanoseconds
	sweepAt int64         // Unix nanoseconds
}

// NewBounded returns a map of at most about maxKeys.
func NewBounded(maxKeys int, whenFull WhenFull, c clock.Clock) *Bounded {
	n := min(max(maxKeys/minShard, 1), maxShards)
	b := &Bounded{whenFull: whenFull, clock: c, max: max((maxKeys+n-1)/n, 1), shards: make([]shard, n)}
	for i := range b.shards {
		b.shards[i].ends = map[Key]int64{}
	}
	return b
}

// Change calls decide with the time and the moment at which the entry of k ends,
// which is now where there is none, and keeps what decide returns: a moment that
// is not after now means no entry. Calls with one key exclude each other. The
// error is ErrFull; then decide was called and nothing was kept.
func (b *Bounded) Change(k Key, decide func(now, end time.Time) time.Time) error {
	s := &b.shards[binary.LittleEndian.Uint64(k[8:])%uint64(len(b.shards))]
	now := b.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweepIfDue(now.UnixNano())

	end := now
	at, known := s.ends[k]
	if known && at > now.UnixNano() {
		end = time.Unix(0, at)
	}
	next := decide(now, end)
	if !next.After(now) {
		delete(s.ends, k)
		return nil
	}
	if !known && len(s.ends) >= b.max {
		if s.sweep(now.UnixNano()); len(s.ends) >= b.max {
			if b.whenFull == Refuse {
				return ErrFull
			}
			s.forgetOne()
		}
	}
	s.ends[k] = next.UnixNano()
	return nil
}

// Len is how many entries there are.
func (b *Bounded) Len() int {
	now := b.clock.Now().UnixNano()
	n := 0
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		s.sweep(now)
		n += len(s.ends)
		s.mu.Unlock()
	}
	return n
}

// Full reports whether some key would find no room now.
func (b *Bounded) Full() bool {
	now := b.clock.Now().UnixNano()
	for i := range b.shards {
		if b.shards[i].full(now, b.max) {
			return true
		}
	}
	return false
}

func (s *shard) full(now int64, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ends) >= limit {
		s.sweep(now)
	}
	return len(s.ends) >= limit
}

func (s *shard) sweepIfDue(now int64) {
	if now >= s.sweepAt {
		s.sweep(now)
	}
}

// sweep drops what has ended.
func (s *shard) sweep(now int64) {
	for k, end := range s.ends {
		if end <= now {
			delete(s.ends, k)
		}
	}
	s.sweepAt = now + int64(sweepInterval)
}

// forgetOne drops, of a few entries, the one that would end first: it has the
// least left to say.
func (s *shard) forgetOne() {
	var victim Key
	var earliest int64
	seen := 0
	for k, end := range s.ends {
		if seen == 0 || end < earliest {
			victim, earliest = k, end
		}
		if seen++; seen == forgetSample {
			break
		}
	}
	delete(s.ends, victim)
}
