package lexclient

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
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
	c     *Client
	m     *lexrt.Method
	query url.Values
	// cursor is the parameter that resumes a stream, "" when the method has none
	// and the header Last-Event-ID is used.
	cursor string
	decode func(*T, []byte) error

	lastID string
	tries  int
	// renewed is true when the last refusal was a 401 that a new token may cure.
	renewed bool

	mu     sync.Mutex
	conn   *connection
	closed bool
}

// ErrClosed is returned by a stream after Close.
var ErrClosed = errors.New("lexclient: the stream is closed")

// NewStream makes a stream of the method's events. cursor names the parameter
// that resumes it, "" when there is none.
func NewStream[T any, P interface {
	*T
	Decoder
}](c *Client, m *lexrt.Method, query url.Values, cursor string) *Stream[T] {
	s := &Stream[T]{c: c, m: m, query: url.Values{}, cursor: cursor, decode: func(v *T, src []byte) error { return P(v).UnmarshalJSON(src) }}
	for k, v := range query {
		s.query[k] = append([]string(nil), v...)
	}
	if cursor != "" {
		s.lastID = query.Get(cursor)
	}
	return s
}

// LastEventID is the position after the last event, to resume with later; "" before the first.
func (s *Stream[T]) LastEventID() string { return s.lastID }

// Next returns the next event. It waits and connects again when the connection
// breaks or the server is busy, and fails when the context ends, when the server
// refuses the request (*lexrt.Error), or when an event breaks its schema, which
// ends the stream's connection but not the stream: the next call goes on after it.
func (s *Stream[T]) Next(ctx context.Context) (*Event[T], error) {
	for {
		conn, err := s.connect(ctx)
		if err != nil {
			if again := s.retry(ctx, err); again != nil {
				return nil, again
			}
			continue
		}
		frame, err := conn.next(ctx)
		if err != nil {
			s.drop(conn)
			if again := s.retry(ctx, err); again != nil {
				return nil, again
			}
			continue
		}
		s.tries, s.renewed = 0, false
		s.lastID = frame.id
		event := &Event[T]{ID: frame.id, Name: frame.name, Data: new(T)}
		if err := s.decode(event.Data, frame.data); err != nil {
			return nil, fmt.Errorf("%s: an event breaks its schema: %w", s.m.NSID, err)
		}
		return event, nil
	}
}

// All iterates over the events until the first error, which it yields with a nil
// event, and closes the stream.
func (s *Stream[T]) All(ctx context.Context) iter.Seq2[*Event[T], error] {
	return func(yield func(*Event[T], error) bool) {
		defer s.Close()
		for {
			event, err := s.Next(ctx)
			if !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the stream and its connection. A call of Next that waits returns ErrClosed.
func (s *Stream[T]) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.conn != nil {
		s.conn.close()
		s.conn = nil
	}
}

func (s *Stream[T]) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Stream[T]) drop(conn *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	conn.close()
	s.lastID = conn.lastID
	if s.conn == conn {
		s.conn = nil
	}
}

// connect returns the connection, making it when there is none.
func (s *Stream[T]) connect(ctx context.Context) (*connection, error) {
	s.mu.Lock()
	conn, closed := s.conn, s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case conn != nil:
		return conn, nil
	}
	conn, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.close()
		return nil, ErrClosed
	}
	s.conn = conn
	return conn, nil
}

func (s *Stream[T]) dial(ctx context.Context) (*connection, error) {
	// The connection outlives this call, so it has a context of its own.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	defer stop()
	header := false
	if s.lastID != "" {
		if header = s.cursor == ""; !header {
			s.query.Set(s.cursor, s.lastID)
		}
	}
	req, err := s.c.request(own, s.m, s.query, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Cache-Control", "no-store")
	if header {
		req.Header.Set("Last-Event-ID", s.lastID)
	}
	resp, err := s.c.stream.Do(req)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", s.m.NSID, err)
	}
	if resp.StatusCode != http.StatusOK {
		defer cancel()
		return nil, answerError(resp)
	}
	return newConnection(resp.Body, cancel, s.lastID, s.c.opt.MaxEvent, s.c.opt.IdleTimeout), nil
}

const (
	firstWait   = 250 * time.Millisecond
	longestWait = 30 * time.Second
)

// retry waits before the next attempt, or returns why there is none.
func (s *Stream[T]) retry(ctx context.Context, err error) error {
	if s.isClosed() {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errEventSize) {
		return err
	}
	wait := min(firstWait<<min(s.tries, 10), longestWait)
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads attempts in time, guards nothing
	if named, ok := errors.AsType[*lexrt.Error](err); ok {
		switch {
		case named.Status == http.StatusUnauthorized && !s.renewed && s.c.opt.Token != nil:
			s.renewed = true // the next attempt asks for a new token
		case named.Status == http.StatusTooManyRequests, named.Status == http.StatusRequestTimeout, named.Status >= 500 && named.Status != http.StatusNotImplemented:
			wait = max(wait, named.RetryAfter)
		default:
			return err
		}
	}
	s.tries++
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
