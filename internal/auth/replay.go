package auth

import (
	"container/heap"
	"context"
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

// MemoryReplays remembers used tokens in this process, in bounded memory. On its
// own it protects a single process that is not restarted; in front of a shared
// store it is one more guard (see ReplayChain). It is safe for concurrent use.
type MemoryReplays struct {
	max   int
	evict bool
	clock clock.Clock

	mu    sync.Mutex
	until map[[32]byte]int64 // Unix milliseconds
	queue expiryQueue
}

var _ ReplayStore = (*MemoryReplays)(nil)

// NewMemoryReplays returns a store for at most maxTokens, each of some 150 bytes.
// When it is full of tokens that have not expired, Use returns
// ErrReplayStoreFull: it would rather turn callers away than forget.
func NewMemoryReplays(maxTokens int, c clock.Clock) *MemoryReplays {
	if c == nil {
		c = clock.System
	}
	return &MemoryReplays{max: max(maxTokens, 1), clock: c, until: map[[32]byte]int64{}}
}

// Use implements ReplayStore.
func (m *MemoryReplays) Use(_ context.Context, key [32]byte, expires time.Time) (bool, error) {
	now := m.clock.Now().UnixMilli()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(now)
	if _, used := m.until[key]; used {
		return false, nil
	}
	// The queue is what is bounded: it holds every key, and forgotten ones.
	if len(m.queue) >= m.max {
		if !m.evict {
			return false, ErrReplayStoreFull
		}
		m.pop()
	}
	at := expires.UnixMilli()
	m.until[key] = at
	heap.Push(&m.queue, expiry{key, at})
	return true, nil
}

// Len is how many tokens are remembered.
func (m *MemoryReplays) Len() int {
	now := m.clock.Now().UnixMilli()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.expire(now)
	return len(m.until)
}

// forget drops key; its place in the queue expires by itself.
func (m *MemoryReplays) forget(key [32]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.until, key)
}

func (m *MemoryReplays) expire(now int64) {
	for len(m.queue) > 0 && m.queue[0].at <= now {
		m.pop()
	}
}

func (m *MemoryReplays) pop() {
	// A key that was forgotten and used again is in the queue twice.
	if e, ok := heap.Pop(&m.queue).(expiry); ok && m.until[e.key] == e.at {
		delete(m.until, e.key)
	}
}

type expiry struct {
	key [32]byte
	at  int64
}

// expiryQueue is a heap with the first to expire on top.
type expiryQueue []expiry

func (q expiryQueue) Len() int           { return len(q) }
func (q expiryQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q expiryQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *expiryQueue) Push(x any) {
	if e, ok := x.(expiry); ok {
		*q = append(*q, e)
	}
}

// Pop implements heap.Interface.
func (q *expiryQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}
