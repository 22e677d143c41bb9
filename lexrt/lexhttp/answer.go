package lexhttp

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"mls-server/lexrt"
)

// answer is one answer that is being given.
type answer struct {
	w     http.ResponseWriter
	r     *http.Request
	began bool
}

// Write implements io.Writer for endpoints that answer with bytes of their own.
func (a *answer) Write(p []byte) (int, error) {
	a.began = true
	return a.w.Write(p)
}

// SetContentType implements lexrt.ContentTypeSetter.
func (a *answer) SetContentType(mediaType string) { a.w.Header().Set("Content-Type", mediaType) }

// json answers with a value, or with nothing.
func (a *answer) json(status int, out lexrt.Response) {
	var data []byte
	h := a.w.Header()
	if out != nil {
		data = out.AppendJSON(nil)
		h.Set("Content-Type", "application/json; charset=utf-8")
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	a.began = true
	a.w.WriteHeader(status)
	_, _ = a.w.Write(data) // a client that is gone hears nothing
}

// fail answers with an error, or cuts the connection when an answer has begun: its end would look
// like success.
func (a *answer) fail(e *lexrt.Error) {
	if a.began {
		panic(http.ErrAbortHandler)
	}
	h := a.w.Header()
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.Status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", "Bearer")
	}
	a.json(e.Status, e)
}

// eventStream answers with Server-Sent Events.
type eventStream struct {
	*answer

	flush *http.ResponseController
}

// LastEventID implements lexrt.EventStream.
func (s *eventStream) LastEventID() string { return s.r.Header.Get("Last-Event-ID") }

// Direct implements lexrt.EventStream.
func (s *eventStream) Direct() bool { return s.LastEventID() != "" }

var errLineBreak = errors.New("lexhttp: event id or name with a line break")

// Event implements lexrt.EventStream.
func (s *eventStream) Event(id, name string, data lexrt.Response) error {
	if strings.ContainsAny(id+name, "\r\n\x00") {
		return errLineBreak
	}
	return s.Frames(lexrt.AppendFrame(nil, id, name, data))
}

// Comment implements lexrt.EventStream.
func (s *eventStream) Comment(text string) error {
	return s.Frames([]byte(": " + strings.NewReplacer("\r", " ", "\n", " ").Replace(text) + "\n\n"))
}

// Frames implements lexrt.EventStream.
func (s *eventStream) Frames(frames ...[]byte) error {
	if !s.began {
		h := s.w.Header()
		h.Set("Content-Type", "text/event-stream")
		h.Set("Cache-Control", "no-store, no-transform")
	}
	if s.r.Method == http.MethodHead {
		s.began = true // the headers are all that was asked for
		return errors.Join(s.flush.Flush(), http.ErrBodyNotAllowed)
	}
	for _, frame := range frames {
		if _, err := s.Write(frame); err != nil {
			return err
		}
	}
	s.began = true
	return s.flush.Flush()
}
