package xrpc

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
)

// memoryWait is how long a large body or answer waits for memory before its
// client is told to come back.
const memoryWait = 2 * time.Second

// budget bounds the memory that large bodies, or large answers, take together.
// One account holds a quarter of it at most, or a single body that is larger.
type budget struct {
	size, share int64
	sem         *semaphore.Weighted

	mu   sync.Mutex
	held map[string]int64 // by account, without those that hold nothing
}

func newBudget(size int64) *budget {
	return &budget{size: size, share: size / 4, sem: semaphore.NewWeighted(size), held: map[string]int64{}}
}

// used is how much of it is held.
func (b *budget) used() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	var n int64
	for _, held := range b.held {
		n += held
	}
	return n
}

// BodyMemory is how many bytes large bodies and answers hold, as they are counted, and how many
// they may hold.
func (s *Server) BodyMemory() (used, most int64) {
	return s.bodies.used() + s.answers.used(), s.bodies.size + s.answers.size
}

// claim is what one body or answer holds of a budget.
type claim struct {
	b       *budget
	account string
	n       int64
}

// hold makes what is held n bytes, or the whole budget when n is more than that.
// It fails with errBusy when there is no room within memoryWait, and at once when
// the account has used up its share with other requests.
func (c *claim) hold(ctx context.Context, n int64) error {
	more := min(n, c.b.size) - c.n
	if more <= 0 {
		c.b.sem.Release(-more)
		c.b.note(c.account, more)
		c.n += more
		return nil
	}
	if !c.b.reserve(c.account, c.n, more) {
		return errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, memoryWait)
	defer cancel()
	if err := c.b.sem.Acquire(ctx, more); err != nil {
		c.b.note(c.account, -more)
		return errBusy
	}
	c.n += more
	return nil
}

// release gives back all that is held.
func (c *claim) release() {
	c.b.sem.Release(c.n)
	c.b.note(c.account, -c.n)
	c.n = 0
}

// reserve notes that an account is about to hold more, of which one request has
// own already, unless that is beyond its share.
func (b *budget) reserve(account string, own, more int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	others := b.held[account] - own
	if others > 0 && others+own+more > b.share {
		return false
	}
	b.held[account] += more
	return true
}

// note changes what an account holds.
func (b *budget) note(account string, change int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held[account] += change; b.held[account] == 0 {
		delete(b.held, account)
	}
}
