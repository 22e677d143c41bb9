package delivery

import (
	"crypto/rand"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// keyringSize is how many conversations' keys are remembered, of some 400 bytes each.
	keyringSize = 8192
	// keyringAge is how long they are at most.
	keyringAge = 5 * time.Minute
)

// keyring remembers keys by which sealed sends were proven, so that the next one to the same
// conversation needs no question to the database before it is stored. It decides nothing: what is
// stored is judged by the seal of the keys, and those that no longer stand store nothing.
//
// Only keys that somebody has shown to know get in. Whoever does not cannot fill it, nor see what
// is in it: where it has nothing there are as many keys to try, which nobody knows.
type keyring struct {
	nothing store.SendKeys

	mu  sync.Mutex
	lru *simplelru.LRU[mls.ConvoKey, remembered]
}

type remembered struct {
	keys store.SendKeys
	at   time.Time
}

func newKeyring() *keyring {
	r := &keyring{nothing: store.SendKeys{Epoch: -1, Present: make([]mls.SendKey, store.SendKeySlots)}}
	for i := range r.nothing.Present {
		_, _ = rand.Read(r.nothing.Present[i][:]) // never fails
	}
	// It fails for sizes below 1 only.
	r.lru, _ = simplelru.NewLRU[mls.ConvoKey, remembered](keyringSize, nil)
	return r
}

// find returns the keys of a conversation as they are remembered, or as many that nobody knows.
func (r *keyring) find(key mls.ConvoKey, now time.Time) store.SendKeys {
	r.mu.Lock()
	defer r.mu.Unlock()
	found, ok := r.lru.Get(key)
	if !ok || now.Sub(found.at) > keyringAge {
		return r.nothing
	}
	return found.keys
}

// keep remembers the keys of a conversation.
func (r *keyring) keep(key mls.ConvoKey, keys store.SendKeys, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lru.Add(key, remembered{keys, now})
}

// drop forgets the keys of a conversation.
func (r *keyring) drop(key mls.ConvoKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lru.Remove(key)
}
