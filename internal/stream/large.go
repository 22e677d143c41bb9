package stream

import (
	"sync"
	"sync/atomic"
)

const (
	// largeFrame is the size from which a frame is written in pieces and counted.
	largeFrame = 256 << 10
	// pieceBytes is how much of a large frame has to pass within the time that one
	// write may take: a client that is slow but alive gets the whole.
	pieceBytes = 64 << 10
	// largeBudget is how many bytes of large frames may be on their way. Beyond it
	// the oldest are given up: their streams are cut and resume by their cursors.
	largeBudget = 256 << 20
)

// largeWrites keeps clients that never finish reading from holding all memory.
type largeWrites struct {
	mu    sync.Mutex
	bytes int64
	open  []*largeWrite
}

type largeWrite struct {
	size  int64
	given atomic.Bool // given up
}

func (l *largeWrites) begin(size int) *largeWrite {
	w := &largeWrite{size: int64(size)}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bytes += w.size
	l.open = append(l.open, w)
	excess := l.bytes - largeBudget
	for _, oldest := range l.open[:len(l.open)-1] {
		if excess <= 0 {
			break
		}
		oldest.given.Store(true)
		excess -= oldest.size
	}
	return w
}

func (l *largeWrites) end(w *largeWrite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.open {
		if l.open[i] == w {
			l.open = append(l.open[:i], l.open[i+1:]...)
			l.bytes -= w.size
			return
		}
	}
}
