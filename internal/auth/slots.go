package auth

import (
	"context"
	"sync"
	"time"
)

// slots bounds how many holders each key has at a time. Keys without holders
// take no memory. It is safe for concurrent use.
type slots struct {
	each int

	mu   sync.Mutex
	keys map[string]*slot
}

type slot struct {
	held  chan struct{}
	users int // who holds it or waits
}

func newSlots(each int) *slots { return &slots{each: each, keys: map[string]*slot{}} }

// acquire takes one of the key's slots, waiting for at most wait. The error is
// ErrBusy when none became free, or the context's.
func (s *slots) acquire(ctx context.Context, key string, wait time.Duration) (release func(), err error) {
	k := s.join(key)
	release = func() {
		<-k.held
		s.leave(key, k)
	}
	select {
	case k.held <- struct{}{}:
		return release, nil
	default:
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case k.held <- struct{}{}:
		return release, nil
	case <-timer.C:
		err = ErrBusy
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.leave(key, k)
	return nil, err
}

func (s *slots) join(key string) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	k, ok := s.keys[key]
	if !ok {
		k = &slot{held: make(chan struct{}, s.each)}
		s.keys[key] = k
	}
	k.users++
	return k
}

func (s *slots) leave(key string, k *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(s.keys, key)
	}
}
