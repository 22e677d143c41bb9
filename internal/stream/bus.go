package stream

import "sync"

// Bus carries hints that the log has grown. A hint says nothing else, may be
// lost, merged or repeated, and is never waited for.
type Bus interface {
	// Hint wakes the tailers of all servers that share the log. It does not block.
	Hint()
	// Subscribe returns a channel that receives after each hint; hints that come
	// before the last one was taken are merged.
	Subscribe() (hints <-chan struct{}, cancel func())
}

// LocalBus carries hints within a process.
type LocalBus struct {
	mu   sync.Mutex
	subs map[chan struct{}]struct{}
}

// NewLocalBus returns a bus without subscribers.
func NewLocalBus() *LocalBus { return &LocalBus{subs: map[chan struct{}]struct{}{}} }

// Hint implements Bus.
func (b *LocalBus) Hint() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for sub := range b.subs {
		poke(sub)
	}
}

// Subscribe implements Bus.
func (b *LocalBus) Subscribe() (hints <-chan struct{}, cancel func()) {
	sub := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subs[sub] = struct{}{}
	return sub, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.subs, sub)
	}
}

// poke fills a channel of capacity one.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
