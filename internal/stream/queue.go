package stream

// ring is a queue that holds no memory while it is empty and doubles as it fills.
type ring[T any] struct {
	buf  []T
	head int
	n    int
}

const ringMin = 8

func (r *ring[T]) len() int { return r.n }

func (r *ring[T]) push(v T) {
	if r.n == len(r.buf) {
		grown := make([]T, max(ringMin, 2*len(r.buf)))
		for i := range r.n {
			grown[i] = r.buf[(r.head+i)%len(r.buf)]
		}
		r.buf, r.head = grown, 0
	}
	r.buf[(r.head+r.n)%len(r.buf)] = v
	r.n++
}

func (r *ring[T]) pop() T {
	var zero T
	v := r.buf[r.head]
	r.buf[r.head] = zero
	r.head = (r.head + 1) % len(r.buf)
	r.n--
	if r.n == 0 && len(r.buf) > ringMin {
		*r = ring[T]{}
	}
	return v
}

// offer puts an event at the end of the stream's queue. It returns false, and
// empties the queue, when that is full.
func (s *stream) offer(e *entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	if s.queue.len() >= s.limit {
		s.over, s.queue = true, ring[*entry]{}
		poke(s.wake)
		return false
	}
	s.queue.push(e)
	if s.queue.len() == 1 {
		poke(s.wake)
	}
	return true
}

// take moves queued events into dst, up to its capacity, and reports whether
// the queue has overflowed.
func (s *stream) take(dst []*entry) (taken []*entry, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.queue.len() > 0 && len(dst) < cap(dst) {
		dst = append(dst, s.queue.pop())
	}
	return dst, s.over
}

// reset makes the queue usable again after an overflow.
func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.queue = false, ring[*entry]{}
}

// overflowed reports whether something was lost from the queue.
func (s *stream) overflowed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

// idle reports whether nothing waits in the queue and nothing was lost from it.
func (s *stream) idle() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.over && s.queue.len() == 0
}
