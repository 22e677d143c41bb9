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

// errLineBreak is returned for an id or name that would break the framing.
var errLineBreak = errors.New("xrpc: event id or name with a line break")

// stream answers with Server-Sent Events. Headers are flushed before the
// endpoint runs, since proxies give up on a stream without them.
func (x *exchange) stream(req *lexrt.Request, e lexrt.StreamEndpoint) error {
	out := &eventStream{x: x, rc: http.NewResponseController(x.w), lastEventID: x.r.Header.Get("Last-Event-ID")}
	return e(x.r.Context(), req, out)
}

type eventStream struct {
	x           *exchange
	rc          *http.ResponseController
	lastEventID string
	buf         []byte
}

// LastEventID implements lexrt.EventStream.
func (s *eventStream) LastEventID() string { return s.lastEventID }

// Event implements lexrt.EventStream.
func (s *eventStream) Event(id, name string, data lexrt.Response) error {
	if strings.ContainsAny(id, "\r\n\x00") || strings.ContainsAny(name, "\r\n") {
		return errLineBreak
	}
	b := s.buf[:0]
	if id != "" {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	if name != "" {
		b = append(append(append(b, "event: "...), name...), '\n')
	}
	// Encoded JSON has no raw line break, so one data line is enough.
	b = data.AppendJSON(append(b, "data: "...))
	s.buf = append(b, '\n', '\n')
	return s.write()
}

// Comment implements lexrt.EventStream.
func (s *eventStream) Comment(text string) error {
	s.buf = append(append(s.buf[:0], ": "...), strings.Map(dropBreaks, text)...)
	s.buf = append(s.buf, '\n', '\n')
	return s.write()
}

func dropBreaks(r rune) rune {
	if r == '\r' || r == '\n' {
		return ' '
	}
	return r
}

func (s *eventStream) write() error {
	if !s.x.began {
		h := s.x.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("X-Accel-Buffering", "no")
		s.x.begin(http.StatusOK)
	}
	if s.x.r.Method == http.MethodHead {
		return http.ErrBodyNotAllowed
	}
	if err := s.rc.SetWriteDeadline(s.x.s.opt.Clock.Now().Add(writeWait)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	n, err := s.x.w.Write(s.buf)
	s.x.event.BytesOut += int64(n)
	if err != nil {
		return err
	}
	if cap(s.buf) > 1<<20 {
		s.buf = nil
	}
	return s.rc.Flush()
}
