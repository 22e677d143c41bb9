package lexclient

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"mls-server/lexrt"
)

// follower keeps a connection to a stream, whatever it is made of: it connects when a frame is
// asked for, and again after a connection broke, from where it was.
type follower struct {
	c     *Client
	m     *lexrt.Method
	query url.Values
	// cursor is the parameter that resumes the stream, "" when the method has none.
	cursor string
	dial   func(ctx context.Context) (link, error)

	lastID string
	tries  int
	// renews says that each connection has a token, or a ticket, of its own.
	renews bool
	// renewed is true when the last refusal was a 401 that a new token may cure.
	renewed bool

	// done ends what Next waits for when the stream is closed.
	done chan struct{}

	mu     sync.Mutex
	conn   link
	closed bool
}

// link is one connection of a stream.
type link interface {
	// next returns the next frame. When the context ends, the connection does too.
	next(ctx context.Context) (*frame, error)
	// position is where to resume after the last complete frame.
	position() string
	close()
}

// frame is one event as it was received.
type frame struct {
	id, name string
	data     []byte
}

// ErrClosed is returned by a stream after Close.
var ErrClosed = errors.New("lexclient: the stream is closed")

var (
	errEventSize = errors.New("lexclient: an event is larger than MaxEvent")
	errIdle      = errors.New("lexclient: the stream was silent for too long")
)

func newFollower(c *Client, m *lexrt.Method, query url.Values, cursor string) *follower {
	f := &follower{c: c, m: m, query: url.Values{}, cursor: cursor, renews: c.opt.Token != nil, done: make(chan struct{})}
	for k, v := range maps.All(query) {
		f.query[k] = slices.Clone(v)
	}
	if cursor != "" {
		f.lastID = query.Get(cursor)
	}
	return f
}

// next returns the next frame.
func (f *follower) next(ctx context.Context) (*frame, error) {
	for {
		conn, err := f.connect(ctx)
		if err != nil {
			if again := f.retry(ctx, err); again != nil {
				return nil, again
			}
			continue
		}
		frame, err := conn.next(ctx)
		if err != nil {
			f.drop(conn)
			if again := f.retry(ctx, err); again != nil {
				return nil, again
			}
			continue
		}
		f.tries, f.renewed = 0, false
		f.lastID = frame.id
		return frame, nil
	}
}

// Close ends the stream and its connection. A call of Next that waits returns ErrClosed.
func (f *follower) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		close(f.done)
	}
	if f.conn != nil {
		f.conn.close()
		f.conn = nil
	}
}

func (f *follower) isClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

func (f *follower) drop(conn link) {
	f.mu.Lock()
	defer f.mu.Unlock()
	conn.close()
	f.lastID = conn.position()
	if f.conn == conn {
		f.conn = nil
	}
}

// connect returns the connection, making it when there is none.
func (f *follower) connect(ctx context.Context) (link, error) {
	f.mu.Lock()
	conn, closed := f.conn, f.closed
	f.mu.Unlock()
	switch {
	case closed:
		return nil, ErrClosed
	case conn != nil:
		return conn, nil
	}
	if f.lastID != "" && f.cursor != "" {
		f.query.Set(f.cursor, f.lastID)
	}
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-f.done:
			cancel()
		case <-dialing.Done():
		}
	}()
	conn, err := f.dial(dialing)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		conn.close()
		return nil, ErrClosed
	}
	f.conn = conn
	return conn, nil
}

const (
	firstWait   = 250 * time.Millisecond
	longestWait = 30 * time.Second
)

// retry waits before the next attempt, or returns why there is none.
func (f *follower) retry(ctx context.Context, err error) error {
	if f.isClosed() {
		return ErrClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, errEventSize) || isFinal(err) {
		return err
	}
	wait := min(firstWait<<min(f.tries, 10), longestWait)
	wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads attempts in time, guards nothing
	if named, ok := errors.AsType[*lexrt.Error](err); ok {
		switch {
		case named.Status == http.StatusUnauthorized && !f.renewed && f.renews:
			f.renewed = true // the next attempt asks for a new token
		case slices.Contains(transient, named.Name), named.Status == http.StatusTooManyRequests, named.Status == http.StatusRequestTimeout, named.Status >= 500 && named.Status != http.StatusNotImplemented:
			wait = max(wait, named.RetryAfter)
		default:
			return err
		}
	}
	f.tries++
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.done:
		return ErrClosed
	case <-timer.C:
		return nil
	}
}

// transient are names of answers after which the same request may succeed: what passes them on may
// change their status.
var transient = []string{"RateLimitExceeded", "NotEnoughResources", "UpstreamFailure", "UpstreamTimeout"}

// sourceError is an error of what the caller gave the client to ask, for a token for example.
type sourceError struct{ error }

// Unwrap returns the cause.
func (e *sourceError) Unwrap() error { return e.error }

// isFinal reports whether an error is one of the caller's own that no answer of a service and no
// trouble of the network is behind: trying again would hide it.
func isFinal(err error) bool {
	if _, own := errors.AsType[*sourceError](err); !own {
		return false
	}
	_, answered := errors.AsType[*lexrt.Error](err)
	_, unreached := errors.AsType[*url.Error](err)
	return !answered && !unreached
}
