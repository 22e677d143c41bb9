package lexsocket

import (
	"sync"
	"time"

	"github.com/coder/websocket"
)

const (
	// controlBurst and controlEvery say how many pings and pongs a client may send: so many at
	// once, and one more after each interval. Clients send one every ten seconds.
	controlBurst = 60
	controlEvery = time.Second
)

// controls counts the control frames of a client.
type controls struct {
	mu   sync.Mutex
	used int
	last time.Time
}

// take counts one, and reports whether that is not too many.
func (b *controls) take(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if back := int(now.Sub(b.last) / controlEvery); back > 0 {
		b.used, b.last = max(b.used-back, 0), now
	}
	b.used++
	return b.used <= controlBurst
}

// controlled counts a control frame, and ends the connection when there are too many. It is called
// by the reader of the connection, which must not wait for its own end.
func (c *Conn) controlled() bool {
	if c.control.take(in(0)) {
		return true
	}
	if !c.ended.Load() {
		go c.end(websocket.StatusPolicyViolation, "too many control frames")
	}
	return false
}
