package blocks

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// maxMemory bounds what a process remembers, counted in blocks and pairs of some 200 bytes
	// each.
	maxMemory = 100_000
	// retryAfter is how long a user that could not be looked up is left alone, so that one dead
	// server does not slow every question down.
	retryAfter = 30 * time.Second
	// Each caller may have so many users looked up at once, and a minute.
	lookupsPerMinute = 1000
	maxCallers       = 10_000
)

// subject is a user that was looked up, for one caller alone or, with caller "", for all who share
// a conversation with the user.
type subject struct{ caller, user mls.DID }

// entry is what a process remembers of a subject.
type entry struct {
	// list is the user's own list of blocks, nil when it was not read, or is in the Cache.
	list   map[mls.DID]store.Block
	listed time.Time
	// byLists says that the user blocks by way of lists too, which only the AppView sees through;
	// probed is when that was found out.
	byLists bool
	probed  time.Time
	// pairs is what the AppView said about blocks of the user against others.
	pairs  map[mls.DID]opinion
	viewed time.Time
	// viewRetry is when the AppView may be asked about the user again.
	viewRetry time.Time
	// retry is when the user's server may be asked again.
	retry time.Time
}

// opinion is what the AppView said about a pair.
type opinion struct {
	at    time.Time
	block *store.Block // nil for no block
}

func (e *entry) weight() int { return 1 + len(e.list) + len(e.pairs) }

// memory remembers what must not, or need not, be in the Cache. It is safe for concurrent use.
type memory struct {
	mu      sync.Mutex
	entries *simplelru.LRU[subject, entry]
	weight  int
	callers *allowances
}

func newMemory() *memory {
	m := &memory{callers: newAllowances(lookupsPerMinute, lookupsPerMinute)}
	// The size is positive, which is all that can be wrong.
	m.entries, _ = simplelru.NewLRU(maxMemory, func(_ subject, e entry) { m.weight -= e.weight() })
	return m
}

// recall returns what is remembered of a subject. The maps must not be changed.
func (m *memory) recall(k subject) entry {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, _ := m.entries.Get(k)
	return e
}

// update changes what is remembered of a subject. change gets a copy, whose maps it replaces.
func (m *memory) update(k subject, change func(*entry)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, _ := m.entries.Peek(k)
	m.entries.Remove(k)
	change(&e)
	m.entries.Add(k, e)
	for m.weight += e.weight(); m.weight > maxMemory; {
		m.entries.RemoveOldest()
	}
}

// allowances are token buckets, one for each caller. They are safe for concurrent use.
type allowances struct {
	perMinute, size int

	mu sync.Mutex
	of *simplelru.LRU[mls.DID, *allowance]
}

func newAllowances(perMinute, size int) *allowances {
	a := &allowances{perMinute: perMinute, size: size}
	// The number of callers is positive, which is all that can be wrong.
	a.of, _ = simplelru.NewLRU[mls.DID, *allowance](maxCallers, nil)
	return a
}

// take takes one of a caller's, if any is left.
func (a *allowances) take(caller mls.DID, now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	own, ok := a.of.Get(caller)
	if !ok {
		own = newAllowance(a.perMinute, a.size)
		a.of.Add(caller, own)
	}
	return own.take(now, 0)
}

// allowance is a token bucket.
type allowance struct {
	mu        sync.Mutex
	perMinute int
	size      float64
	left      float64
	at        time.Time
}

func newAllowance(perMinute, size int) *allowance {
	return &allowance{perMinute: perMinute, size: float64(size), left: float64(size)}
}

// take takes one if more than keep are left.
func (a *allowance) take(now time.Time, keep float64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.at.IsZero() && now.After(a.at) {
		a.left = min(a.size, a.left+now.Sub(a.at).Minutes()*float64(a.perMinute))
	}
	a.at = now
	if a.left-1 < keep {
		return false
	}
	a.left--
	return true
}
