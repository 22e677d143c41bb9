// Package lexsocket is the server's side of a subscription: messages of a lexicon in frames of an
// event stream (https://atproto.com/specs/event-stream), over a WebSocket.
//
// A runtime checks the request and reads its parameters, and answers what is wrong with it as HTTP.
// Then it accepts the connection and lets the endpoint serve:
//
//	conn, err := lexsocket.Accept(w, r, method, lexsocket.Options{})
//	err = serve(conn.Context(), conn)
//	conn.Close(err)
//
// What clients send is their pings and the end. Anything else, and more of those than anybody
// needs, ends the connection: a client costs two goroutines, two buffers of 4 KiB and what waits to
// be written. A client that reads too slowly is cut off, and so is one that answers no ping.
package lexsocket

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

// Options are the settings of a connection. The zero value is usable.
type Options struct {
	// Ping is how long the server waits between pings; 0 means 15 seconds. Proxies close
	// connections that are silent for long.
	Ping time.Duration
	// Pong is how long a client may take to answer one; 0 means 60 seconds. A client that is being
	// written to is alive as long as it reads.
	Pong time.Duration
	// Write is how long it may take to hand a message, or 16 KiB of a long one, to the network;
	// 0 means 20 seconds. A client that pings has to take as much within five: its pong waits for
	// what is being written, and no longer.
	Write time.Duration
	// Wrote, when not nil, is told of the bytes that were written.
	Wrote func(n int)
}

const (
	defaultPing  = 15 * time.Second
	defaultPong  = time.Minute
	defaultWrite = 20 * time.Second
	closeWait    = 5 * time.Second
	// pieceBytes is how much of a long message has to pass in one time of a write.
	pieceBytes = 16 << 10
)

// Conn is a connection with a client. It implements lexrt.Subscribed.
type Conn struct {
	ws   *websocket.Conn
	net  net.Conn
	nsid string
	opt  Options
	// ctx ends with the connection, and free never: writes have deadlines instead.
	ctx, free context.Context //nolint:containedctx // they are the connection's own
	cancel    context.CancelFunc
	// writes is odd while something is being written.
	writes  atomic.Uint64
	ping    *time.Timer
	ended   atomic.Bool
	control controls
}

var _ lexrt.Subscribed = (*Conn)(nil)

// Accept makes a WebSocket of a request that Check has nothing against. Requests from pages of any
// origin are accepted: a subscription is authorised by what the client sends along, never by a
// cookie.
func Accept(w http.ResponseWriter, r *http.Request, m *lexrt.Method, opt Options) (*Conn, error) {
	opt.Ping, opt.Pong, opt.Write = cmp.Or(opt.Ping, defaultPing), cmp.Or(opt.Pong, defaultPong), cmp.Or(opt.Write, defaultWrite)
	c := &Conn{nsid: m.NSID, opt: opt}
	taken := &hijacked{ResponseWriter: w}
	ws, err := websocket.Accept(taken, r, &websocket.AcceptOptions{
		InsecureSkipVerify: true,
		OnPingReceived:     func(context.Context, []byte) bool { return c.controlled() },
		OnPongReceived:     func(context.Context, []byte) { c.controlled() },
	})
	if err != nil {
		return nil, fmt.Errorf("lexsocket: %w", err)
	}
	c.ws, c.net = ws, taken.conn
	// net/http ends the request's context when its handler returns, and not before.
	c.ctx, c.cancel = context.WithCancel(r.Context())
	c.free = context.WithoutCancel(c.ctx)
	go c.read()
	c.ping = time.AfterFunc(opt.Ping, c.beat)
	return c, nil
}

// hijacked remembers the connection that was taken over: only by itself can it be given deadlines,
// and be closed whatever the protocol would still wait for.
type hijacked struct {
	http.ResponseWriter

	conn net.Conn
}

// Hijack implements http.Hijacker.
func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	h.conn = conn
	return conn, rw, err //nolint:wrapcheck // it is passed on
}

// in is the time after d. Connections have deadlines by the clock of the system.
func in(d time.Duration) time.Time { return time.Now().Add(d) } //nolint:forbidigo // see above

// Context ends when the connection does.
func (c *Conn) Context() context.Context { return c.ctx }

// read answers pings and waits for the end. Clients have nothing else to say.
func (c *Conn) read() {
	defer c.cancel()
	if _, _, err := c.ws.Reader(c.ctx); err == nil {
		c.end(websocket.StatusPolicyViolation, "a subscription takes no messages")
		return
	}
	c.cut()
}

// Send implements lexrt.Subscribed.
func (c *Conn) Send(typ string, message lexrt.Response) error {
	frame, err := lexcbor.AppendMessage(nil, c.nsid, typ, message)
	if err != nil {
		return err
	}
	return c.Frames(frame)
}

// Frames implements lexrt.Subscribed.
func (c *Conn) Frames(frames ...[]byte) error {
	c.writes.Add(1)
	defer c.wrote()
	for _, frame := range frames {
		err := c.net.SetWriteDeadline(in(c.opt.Write))
		if err == nil {
			err = c.ws.Write(c.free, websocket.MessageBinary, frame)
		}
		if err != nil {
			return c.broken(err)
		}
		c.count(len(frame))
	}
	return nil
}

// broken cuts a connection on which a message may have been written in part.
func (c *Conn) broken(err error) error {
	c.cut()
	return fmt.Errorf("lexsocket: %w", err)
}

// wrote ends a write. Its deadline is not that of the pings and pongs to come.
func (c *Conn) wrote() {
	_ = c.net.SetWriteDeadline(time.Time{}) // fails where the connection is gone
	c.writes.Add(1)
}

func (c *Conn) count(n int) {
	if c.opt.Wrote != nil {
		c.opt.Wrote(n)
	}
}

// errGivenUp says that a long message was not finished.
var errGivenUp = errors.New("lexsocket: a long message was given up")

// LongFrame implements lexrt.Subscribed.
func (c *Conn) LongFrame(frame []byte, goOn func() bool) error {
	c.writes.Add(1)
	defer c.wrote()
	message, err := c.ws.Writer(c.free, websocket.MessageBinary)
	if err != nil {
		return c.broken(err)
	}
	for len(frame) > 0 {
		if !goOn() {
			// Some libraries take a message whose rest does not come for a whole one.
			c.end(websocket.StatusTryAgainLater, "the message was given up")
			return errGivenUp
		}
		n := min(len(frame), pieceBytes)
		err := c.net.SetWriteDeadline(in(c.opt.Write))
		if err == nil {
			_, err = message.Write(frame[:n])
		}
		if err != nil {
			return c.broken(err)
		}
		c.count(n)
		frame = frame[n:]
	}
	if err := message.Close(); err != nil {
		return c.broken(err)
	}
	return nil
}

// beat sends a ping and waits for its pong, and cuts the connection of a client that does not
// answer although nothing else is under way to it.
func (c *Conn) beat() {
	before := c.writes.Load()
	ctx, cancel := context.WithTimeout(c.ctx, c.opt.Pong)
	defer cancel()
	err := c.ws.Ping(ctx)
	switch {
	case c.ctx.Err() != nil || c.ended.Load():
	case err != nil && before%2 == 0 && before == c.writes.Load():
		c.cut()
	default:
		c.ping.Reset(c.opt.Ping)
	}
}

// cut ends the connection without a word.
func (c *Conn) cut() {
	c.ended.Store(true)
	c.cancel()
	_ = c.net.Close()
	_ = c.ws.CloseNow() // gives its buffers back
}

// Abort ends the connection without a word, unless it has ended.
func (c *Conn) Abort() {
	if !c.ended.Load() {
		c.cut()
	}
	c.ping.Stop()
}

// end ends the connection in order. A client that goes on sending instead of ending it, too, is cut
// off after closeWait.
func (c *Conn) end(code websocket.StatusCode, reason string) {
	if c.ended.Swap(true) {
		return
	}
	defer c.cut()
	if c.net.SetDeadline(in(closeWait)) == nil {
		_ = c.ws.Close(code, reason) // the client may be gone
	}
}

// Close ends the connection with what an endpoint returned: an error frame before the close for a
// *lexrt.Error, the code of a *lexrt.CloseError, 1000 for nil, 1011 for other errors. It does
// nothing when the connection has ended already.
func (c *Conn) Close(err error) {
	c.ping.Stop()
	if c.ended.Load() {
		return
	}
	code, reason := websocket.StatusNormalClosure, ""
	named, isNamed := errors.AsType[*lexrt.Error](err)
	closed, isClosed := errors.AsType[*lexrt.CloseError](err)
	switch {
	case isClosed:
		code, reason = websocket.StatusCode(closed.Code), closed.Reason
	case isNamed:
		code, reason = websocket.StatusPolicyViolation, named.Name
		if named.Status >= http.StatusInternalServerError {
			code = websocket.StatusInternalError
		}
		if frame, err := lexcbor.AppendError(nil, named); err != nil || c.Frames(frame) != nil {
			return
		}
	case err != nil:
		code = websocket.StatusInternalError
	}
	c.end(code, reason)
}
