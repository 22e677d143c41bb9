package lexclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

// Resume says how a subscription is resumed: Param is the parameter that takes a position, Member
// the member of messages that holds it. Without them it begins anew after each break.
type Resume struct{ Param, Member string }

// Message is one message of a subscription.
type Message[T any] struct {
	// Type is the message's full type, for example "com.example.subscribe#note".
	Type string
	// Position is where the subscription is after the message; one that starts with it goes on
	// there. It stays when a message has none, and is "" before the first that has one.
	Position string
	// Data is the decoded message.
	Data T
}

// Subscription follows the messages of one method over WebSockets. It connects when the first
// message is asked for, and again after a connection broke, from where it was. It is used by one
// goroutine at a time, but Close may be called by any.
type Subscription[T any] struct {
	*follower

	member string
	decode func(typ string, body []byte) (T, error)
	// Ticket, when not nil, is asked before each connection for what opens it instead of a token: a
	// ticket for the parameter of that name. An endpoint that is not "" is the address to connect
	// to, with a scheme of WebSockets: a client whose calls go through a PDS gets both there, and
	// connects to the service itself.
	Ticket func(ctx context.Context) (endpoint, ticket string, err error)
}

// NewSubscription makes a subscription of the method's messages, which decode reads.
func NewSubscription[T any](c *Client, m *lexrt.Method, query url.Values, resume Resume, decode func(typ string, body []byte) (T, error)) *Subscription[T] {
	s := &Subscription[T]{follower: newFollower(c, m, query, resume.Param), member: resume.Member, decode: decode}
	s.dial = s.open
	return s
}

// Position is where the subscription is, to resume with later; "" before the first message.
func (s *Subscription[T]) Position() string { return s.lastID }

// Next returns the next message. It waits and connects again when the connection breaks, the server
// is busy or says that it was not read fast enough. It passes over messages of types that the
// lexicon does not have, where that says that there are no others. It fails when the context ends,
// when the server refuses the subscription (*lexrt.Error), or when a message breaks its schema,
// after which the next call goes on.
func (s *Subscription[T]) Next(ctx context.Context) (*Message[T], error) {
	for {
		frame, err := s.next(ctx)
		if err != nil {
			return nil, err
		}
		data, err := s.decode(frame.name, frame.data)
		switch {
		case errors.Is(err, lexrt.ErrUnknownMessage):
			continue
		case err != nil:
			return nil, fmt.Errorf("%s: a message breaks its schema: %w", s.m.NSID, err)
		}
		return &Message[T]{Type: frame.name, Position: frame.id, Data: data}, nil
	}
}

// All iterates over the messages until the first error, which it yields with a nil message, and
// closes the subscription.
func (s *Subscription[T]) All(ctx context.Context) iter.Seq2[*Message[T], error] {
	return all(ctx, s.Next, s.Close)
}

// open makes a connection.
func (s *Subscription[T]) open(ctx context.Context) (link, error) {
	// It bounds the handshake alone.
	ctx, cancel := context.WithTimeout(ctx, s.c.opt.IdleTimeout)
	defer cancel()
	address, header, err := s.address(ctx)
	if err != nil {
		return nil, err
	}
	conn := &socket{m: s.m, lastID: s.lastID, member: s.member, idle: s.c.opt.IdleTimeout}
	ws, resp, err := websocket.Dial(ctx, address, &websocket.DialOptions{
		HTTPClient: s.c.stream, HTTPHeader: header, OnPingReceived: conn.alive,
	})
	if err != nil {
		if resp != nil && resp.StatusCode != http.StatusSwitchingProtocols {
			return nil, answerError(resp)
		}
		return nil, fmt.Errorf("%s: %w", s.m.NSID, err)
	}
	ws.SetReadLimit(int64(s.c.opt.MaxEvent))
	conn.ws = ws
	return conn, nil
}

// address is where to connect, and with which headers.
func (s *Subscription[T]) address(ctx context.Context) (address string, header http.Header, err error) {
	if s.Ticket == nil {
		req, err := s.c.request(ctx, s.m, s.query, nil)
		if err != nil {
			return "", nil, err
		}
		return webSocket(req.URL.String()), req.Header, nil
	}
	s.renews = true
	endpoint, ticket, err := s.Ticket(ctx)
	if err != nil {
		return "", nil, &sourceError{fmt.Errorf("%s: getting a ticket: %w", s.m.NSID, err)}
	}
	if endpoint == "" {
		endpoint = webSocket(s.c.base + "/xrpc/" + s.m.NSID)
	}
	s.query.Set("ticket", ticket)
	header = http.Header{}
	if s.c.opt.UserAgent != "" {
		header.Set("User-Agent", s.c.opt.UserAgent)
	}
	return endpoint + "?" + s.query.Encode(), header, nil
}

// webSocket is an address of HTTP with the scheme of WebSockets: https becomes wss.
func webSocket(address string) string { return "ws" + strings.TrimPrefix(address, "http") }

// socket reads the frames of one connection.
type socket struct {
	m      *lexrt.Method
	ws     *websocket.Conn
	lastID string
	member string
	idle   time.Duration

	mu     sync.Mutex
	silent *time.Timer // runs while a frame is waited for
}

func (c *socket) position() string { return c.lastID }

func (c *socket) close() { _ = c.ws.CloseNow() } // it may be closed already

// alive notes a ping.
func (c *socket) alive(context.Context, []byte) bool {
	c.notice()
	return true
}

// heard is a message that is being read: part of it is a sign of life, too.
type heard struct {
	io.Reader

	c *socket
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Reader.Read(p)
	if n > 0 {
		h.c.notice()
	}
	return n, err //nolint:wrapcheck // it is passed on
}

// notice begins the time of a silence anew.
func (c *socket) notice() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silent != nil {
		c.silent.Reset(c.idle)
	}
}

// wait starts the timer of a silence. stop reports whether it had not run out.
func (c *socket) wait(end func()) (stop func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := time.AfterFunc(c.idle, end)
	c.silent = timer
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.silent = nil
		return timer.Stop()
	}
}

// next returns the next message. Kinds of frames that it does not know are passed over.
func (c *socket) next(ctx context.Context) (*frame, error) {
	for {
		f, err := c.read(ctx)
		if err != nil {
			return nil, err
		}
		switch f.Op {
		case lexcbor.OpMessage:
			if at, ok := member(f.Body, c.member); ok {
				c.lastID = at
			}
			return &frame{id: c.lastID, name: f.Type, data: f.Body}, nil
		case lexcbor.OpError:
			return nil, c.refusal(f.Body)
		}
	}
}

func (c *socket) read(ctx context.Context) (lexcbor.Frame, error) {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := c.wait(cancel)
	kind, message, err := c.ws.Reader(own)
	var data []byte
	if err == nil {
		data, err = io.ReadAll(heard{message, c})
	}
	inTime := stop()
	switch {
	case err != nil && !inTime && ctx.Err() == nil:
		return lexcbor.Frame{}, errIdle
	case errors.Is(err, websocket.ErrMessageTooBig):
		return lexcbor.Frame{}, errEventSize
	case err != nil:
		return lexcbor.Frame{}, fmt.Errorf("%s: %w", c.m.NSID, err)
	case kind != websocket.MessageBinary:
		return lexcbor.Frame{}, fmt.Errorf("%s: a message is text, not DAG-CBOR", c.m.NSID)
	}
	return lexcbor.ReadFrame(c.m.NSID, data)
}

// member returns a member of an object that is a text or an integer.
func member(object []byte, name string) (string, bool) {
	if name == "" {
		return "", false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := dec.ReadToken(); err != nil {
		return "", false
	}
	for dec.PeekKind() == '"' {
		key, err := dec.ReadToken()
		if err != nil {
			return "", false
		}
		if key.String() != name {
			if dec.SkipValue() != nil {
				return "", false
			}
			continue
		}
		value, err := dec.ReadToken()
		switch {
		case err != nil:
			return "", false
		case value.Kind() == '"':
			return value.String(), true
		case value.Kind() == '0':
			_, err := strconv.ParseInt(value.String(), 10, 64)
			return value.String(), err == nil
		}
		return "", false
	}
	return "", false
}

// tooSlow is the error of a stream that was not read fast enough, as the specification names it.
const tooSlow = "ConsumerTooSlow"

// refusal is the error that a frame tells. Frames have no status: it is that of the method's error
// of the name, or of the general one. What is neither can be tried again as little as a bad
// request.
func (c *socket) refusal(body []byte) error {
	e := &lexrt.Error{Name: "InvalidRequest", Status: http.StatusBadRequest, Body: body}
	if name, ok := member(body, "error"); ok {
		e.Name = name
	}
	e.Message, _ = member(body, "message")
	if e.Name == tooSlow {
		return &again{e}
	}
	for _, known := range append(lexrt.GeneralErrors(), c.m.Errors...) {
		if known.Name == e.Name {
			e.Status = known.Status
		}
	}
	return e
}

// again is an error after which a stream goes on from where it was.
type again struct{ error }
