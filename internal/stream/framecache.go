package stream

import "sync"

// frameCache bounds the memory of encoded messages: the oldest are dropped
// first, and read again by streams that were too slow for them.
type frameCache struct {
	mu    sync.Mutex
	held  ring[heldFrame]
	bytes int64
	limit int64
}

type heldFrame struct {
	entry  *entry
	format format
	size   int64
}

// put gives e its frame of a format.
func (c *frameCache) put(e *entry, f format, frame []byte) {
	e.frames[f].Store(&frame)
	if len(frame) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held.push(heldFrame{e, f, int64(len(frame))})
	c.bytes += int64(len(frame))
	for c.bytes > c.limit && c.held.len() > 1 {
		oldest := c.held.pop()
		oldest.entry.frames[oldest.format].Store(nil)
		c.bytes -= oldest.size
	}
}
