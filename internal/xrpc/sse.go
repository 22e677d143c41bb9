package xrpc

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"mls-server/lexrt"
)

// writeWait is how long one frame may take to be handed to the network. A
// client that reads slower than that is cut off and resumes by its cursor.
const writeWait = 20 * time.Second

// maxKeptBuffer is how large a stream's own buffer may stay between frames.
const maxKeptBuffer = 4 << 10

// errLineBreak is returned for an id or name that would break the framing.
var errLineBreak = errors.New("xrpc: event id or name with a line break")

// stream answers with Server-Sent Events. Headers are flushed before the
// endpoint runs, since proxies give up on a stream without them.
func (x *exchange) stream(req *lexrt.Request, e lexrt.StreamEndpoint) error {
	s := &eventStream{x: x, rc: http.NewResponseController(x.w), lastEventID: x.r.Header.Get("Last-Event-ID")}
	if acceptsGzip(x.r) {
		s.envelope = &envelope{}
	}
	if err := e(x.r.Context(), req, s); err != nil {
		return err
	}
	return s.end()
}

type eventStream struct {
	x           *exchange
	rc          *http.ResponseController
	lastEventID string
	buf         []byte
	// envelope is nil where the client does not ask for gzip.
	envelope *envelope
}

// end ends a stream that came to its end in order.
func (s *eventStream) end() error {
	if s.envelope == nil || !s.x.began || s.x.r.Method == http.MethodHead {
		return nil
	}
	n, err := s.envelope.end(s.x.w)
	s.x.event.BytesOut += n
	return err
}

// LastEventID implements lexrt.EventStream.
func (s *eventStream) LastEventID() string { return s.lastEventID }

// notProxied are request headers that a PDS does not pass on to the services
// that it proxies to.
var notProxied = [...]string{"Last-Event-Id", "Origin", "Sec-Fetch-Mode"}

// Direct implements lexrt.EventStream.
func (s *eventStream) Direct() bool {
	for _, name := range notProxied {
		if _, ok := s.x.r.Header[name]; ok {
			return true
		}
	}
	return false
}

// Event implements lexrt.EventStream.
func (s *eventStream) Event(id, name string, data lexrt.Response) error {
	if strings.ContainsAny(id, "\r\n\x00") || strings.ContainsAny(name, "\r\n") {
		return errLineBreak
	}
	s.buf = lexrt.AppendFrame(s.buf[:0], id, name, data)
	err := s.Frames(s.buf)
	if cap(s.buf) > maxKeptBuffer {
		s.buf = nil
	}
	return err
}

// Comment implements lexrt.EventStream.
func (s *eventStream) Comment(text string) error {
	s.buf = append(append(s.buf[:0], ": "...), strings.Map(dropBreaks, text)...)
	s.buf = append(s.buf, '\n', '\n')
	return s.Frames(s.buf)
}

func dropBreaks(r rune) rune {
	if r == '\r' || r == '\n' {
		return ' '
	}
	return r
}

// Frames implements lexrt.EventStream.
func (s *eventStream) Frames(frames ...[]byte) error {
	if !s.x.began {
		h := s.x.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h["Cache-Control"] = noStoreStream
		h.Set("X-Accel-Buffering", "no")
		h["Vary"] = varyEncoding
		if s.envelope != nil {
			h["Content-Encoding"] = gzipCoding
		}
		s.x.begin(http.StatusOK)
	}
	if s.x.r.Method == http.MethodHead {
		return http.ErrBodyNotAllowed
	}
	if err := s.rc.SetWriteDeadline(s.x.s.opt.Clock.Now().Add(writeWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	n, err := s.write(frames)
	s.x.event.BytesOut += n
	if err != nil {
		return err
	}
	return s.rc.Flush()
}

func (s *eventStream) write(frames [][]byte) (int64, error) {
	if s.envelope != nil {
		return s.envelope.write(s.x.w, frames...)
	}
	out := counted{w: s.x.w}
	for _, frame := range frames {
		out.write(frame)
	}
	return out.n, out.err
}
