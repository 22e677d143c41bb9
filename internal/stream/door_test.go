package stream_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/stream"
	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

// option changes the request and the client of connect before they begin.
type option = func(*stream.Request, *client)

// doors runs a test over both ways to a client. What it gives is an option of connect.
func doors(t *testing.T, test func(t *testing.T, via option)) {
	t.Helper()
	for name, socket := range map[string]bool{"events": false, "websocket": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, func(_ *stream.Request, c *client) { c.socket = socket })
		})
	}
}

// subscriber is a client that follows over a WebSocket.
type subscriber struct{ *client }

var _ lexrt.Subscribed = subscriber{}

func (s subscriber) Send(string, lexrt.Response) error { panic("frames are encoded once") }

func (s subscriber) Frames(frames ...[]byte) error {
	if s.gate != nil {
		<-s.gate
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range frames {
		s.bytes += len(f)
		s.read(f)
	}
	select {
	case s.more <- struct{}{}:
	default:
	}
	return nil
}

func (s subscriber) LongFrame(frame []byte, goOn func() bool) error {
	if !goOn() {
		return &lexrt.CloseError{Code: 1013}
	}
	return s.Frames(frame)
}

// read reads one message. One that tells a position only is none to tests.
func (s subscriber) read(data []byte) {
	message, err := lexcbor.ReadFrame(nsid, data)
	var f frame
	if err == nil {
		err = json.Unmarshal(message.Body, &f)
	}
	if err != nil || message.Op != lexcbor.OpMessage {
		s.t.Errorf("%v: %.200q", err, data)
	}
	f.ID, f.Name = f.Cursor, strings.TrimPrefix(message.Type, nsid+"#")
	s.id = f.Cursor
	s.raw, s.times = append(s.raw, string(message.Body)), append(s.times, time.Now())
	if f.Kind != stream.InfoPosition {
		s.frames = append(s.frames, f)
	}
}

// TestSilentSockets: pages do not see pings, so a silent subscription says where it is, as often as
// Server-Sent Events have a comment.
func TestSilentSockets(t *testing.T) {
	t.Parallel()
	inBubble(t, stream.Options{}, func(b bubble) {
		t := b.T
		c := connect(t, b.hub, "bob", func(_ *stream.Request, c *client) { c.socket = true }).live()
		time.Sleep(50 * time.Second)
		synctest.Wait()
		c.mu.Lock()
		defer c.mu.Unlock()
		if n := len(c.times); n < 4 || n > 6 {
			t.Fatalf("%d messages in 50 s of silence: %q", n, c.raw)
		}
		for i, raw := range c.raw[1:] {
			if silent := c.times[i+1].Sub(c.times[i]); silent > 15*time.Second || !strings.Contains(raw, `"position"`) {
				t.Errorf("after %v came %s", silent, raw)
			}
		}
	})
}
