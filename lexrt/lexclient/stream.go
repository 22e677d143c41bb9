package lexclient

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"time"

	"mls-server/lexrt"
)

// Event is one event of a stream.
type Event[T any] struct {
	// ID is the position after the event; a stream that starts with it goes on there.
	ID string
	// Name is the event's name, "message" when the server gave none.
	Name string
	// Data is the decoded event.
	Data *T
}

// Stream follows the events of one method. It connects when the first event is
// asked for, and again after a connection broke, from where it was. It is used by
// one goroutine at a time, but Close may be called by any.
type Stream[T any] struct {
	*follower

	decode func(*T, []byte) error
}

// NewStream makes a stream of the method's events. cursor names the parameter
// that resumes it, "" when there is none and the header Last-Event-ID is used.
func NewStream[T any, P interface {
	*T
	Decoder
}](c *Client, m *lexrt.Method, query url.Values, cursor string) *Stream[T] {
	s := &Stream[T]{follower: newFollower(c, m, query, cursor), decode: func(v *T, src []byte) error { return P(v).UnmarshalJSON(src) }}
	s.dial = s.request
	return s
}

// LastEventID is the position after the last event, to resume with later; "" before the first.
func (s *Stream[T]) LastEventID() string { return s.lastID }

// Next returns the next event. It waits and connects again when the connection
// breaks or the server is busy, and fails when the context ends, when the server
// refuses the request (*lexrt.Error), or when an event breaks its schema, after
// which the next call goes on.
func (s *Stream[T]) Next(ctx context.Context) (*Event[T], error) {
	frame, err := s.next(ctx)
	if err != nil {
		return nil, err
	}
	event := &Event[T]{ID: frame.id, Name: frame.name, Data: new(T)}
	if err := s.decode(event.Data, frame.data); err != nil {
		return nil, fmt.Errorf("%s: an event breaks its schema: %w", s.m.NSID, err)
	}
	return event, nil
}

// All iterates over the events until the first error, which it yields with a nil
// event, and closes the stream.
func (s *Stream[T]) All(ctx context.Context) iter.Seq2[*Event[T], error] {
	return all(ctx, s.Next, s.Close)
}

func all[E any](ctx context.Context, next func(context.Context) (E, error), end func()) iter.Seq2[E, error] {
	return func(yield func(E, error) bool) {
		defer end()
		for {
			event, err := next(ctx)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

func (f *follower) request(ctx context.Context) (link, error) {
	// The connection outlives this call, so it has a context of its own.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	late := time.AfterFunc(f.c.opt.IdleTimeout, cancel)
	defer late.Stop()
	req, err := f.c.request(own, f.m, f.query, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	// Whoever compresses a stream may hold back what it compresses.
	req.Header.Set("Accept-Encoding", "identity")
	if f.cursor == "" && f.lastID != "" {
		req.Header.Set("Last-Event-ID", f.lastID)
	}
	resp, err := f.c.stream.Do(req)
	if err != nil {
		cancel()
		if !late.Stop() && ctx.Err() == nil {
			err = errIdle
		}
		return nil, fmt.Errorf("%s: %w", f.m.NSID, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel()
		return nil, answerError(resp)
	}
	return newConnection(resp.Body, cancel, f.lastID, f.c.opt.MaxEvent, f.c.opt.IdleTimeout), nil
}
