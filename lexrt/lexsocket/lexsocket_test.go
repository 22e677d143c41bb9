package lexsocket_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
	"mls-server/lexrt/lexsocket"
)

var method = &lexrt.Method{NSID: "com.example.subscribeNotes", Kind: lexrt.Subscription}

type note struct{ Text string }

func (n *note) AppendJSON(b []byte) []byte {
	return append(lexrt.AppendString(append(b, `{"text":`...), &n.Text), '}')
}

// serve lets each connection run endpoint, and returns the address and what endpoints returned.
func serve(t *testing.T, opt lexsocket.Options, endpoint func(ctx context.Context, out lexrt.Subscribed) error) (addr string, ended func() error) {
	t.Helper()
	results := make(chan error, 10)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := lexsocket.Check(r); err != nil {
			lexsocket.Headers(w.Header(), err)
			w.WriteHeader(err.Status)
			return
		}
		conn, err := lexsocket.Accept(w, r, method, opt)
		if err != nil {
			t.Error(err)
			return
		}
		err = endpoint(conn.Context(), conn) //nolint:contextcheck // it is the request's
		conn.Close(err)
		<-conn.Context().Done()
		results <- err
	}))
	t.Cleanup(web.Close)
	return strings.TrimPrefix(web.URL, "http://"), func() error { return <-results }
}

// untilGone is an endpoint that sends nothing.
func untilGone(ctx context.Context, _ lexrt.Subscribed) error {
	<-ctx.Done()
	return ctx.Err()
}

func dial(t *testing.T, addr string) *websocket.Conn {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+addr, nil) //nolint:bodyclose // the connection has it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	conn.SetReadLimit(1 << 24)
	return conn
}

// raw is a client that speaks the protocol by hand.
type raw struct {
	net.Conn

	r *bufio.Reader
}

func handshake(t *testing.T, addr string) *raw {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if tcp, ok := conn.(*net.TCPConn); !ok || tcp.SetReadBuffer(4096) != nil {
		t.Fatal("the buffer stays as it is")
	}
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nOrigin: https://elsewhere.example\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	c := &raw{conn, bufio.NewReader(conn)}
	resp, err := http.ReadResponse(c.r, nil) //nolint:bodyclose // it has none
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(err, resp)
	}
	return c
}

// frame is a frame of a client, masked with zeros, of which length bytes are announced.
func frame(opcode byte, length uint64, payload string) []byte {
	b := []byte{0x80 | opcode}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), length)
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// code reads to the close frame and returns its code, or 0 where the connection just ends.
func (c *raw) code(t *testing.T) int {
	t.Helper()
	for {
		head := make([]byte, 2)
		if _, err := io.ReadFull(c.r, head); err != nil {
			return 0
		}
		size := int64(head[1])
		if head[0]&0x0f < 8 && size > 125 {
			t.Fatal("a long message")
		}
		payload, err := io.ReadAll(io.LimitReader(c.r, size))
		if err != nil {
			return 0
		}
		if head[0]&0x0f == 8 && len(payload) >= 2 {
			return int(binary.BigEndian.Uint16(payload))
		}
	}
}

const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

func TestMessagesAndEnds(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err     error
		code    websocket.StatusCode
		errored string
	}{
		"done":    {nil, websocket.StatusNormalClosure, ""},
		"closed":  {&lexrt.CloseError{Code: 1012, Reason: "server-restart"}, websocket.StatusServiceRestart, ""},
		"refused": {&lexrt.Error{Name: "FutureCursor", Status: 400, Message: "no"}, websocket.StatusPolicyViolation, `{"error":"FutureCursor","message":"no"}`},
		"fault":   {lexrt.ErrNotEnoughResources, websocket.StatusInternalError, `{"error":"NotEnoughResources"}`},
		"other":   {io.ErrUnexpectedEOF, websocket.StatusInternalError, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			long := strings.Repeat("a", 300<<10)
			addr, ended := serve(t, lexsocket.Options{}, func(_ context.Context, out lexrt.Subscribed) error {
				frame, err := lexcbor.AppendMessage(nil, method.NSID, method.NSID+"#note", &note{long})
				return errors.Join(err, out.Send("com.example.other", &note{"short"}), out.LongFrame(frame, func() bool { return true }), c.err)
			})
			conn := dial(t, addr)
			for i, want := range []struct{ typ, body string }{{"com.example.other", `{"text":"short"}`}, {method.NSID + "#note", `{"text":"` + long + `"}`}} {
				kind, data, err := conn.Read(t.Context())
				if err != nil || kind != websocket.MessageBinary {
					t.Fatal(err)
				}
				f, err := lexcbor.ReadFrame(method.NSID, data)
				if err != nil || f.Op != lexcbor.OpMessage || f.Type != want.typ || string(f.Body) != want.body {
					t.Errorf("message %d: %v %s %d", i, err, f.Type, len(f.Body))
				}
			}
			_, data, err := conn.Read(t.Context())
			if c.errored != "" {
				f, bad := lexcbor.ReadFrame(method.NSID, data)
				if err != nil || bad != nil || f.Op != lexcbor.OpError || string(f.Body) != c.errored {
					t.Errorf("%v %v: %+v", err, bad, f)
				}
				_, _, err = conn.Read(t.Context())
			}
			if websocket.CloseStatus(err) != c.code {
				t.Errorf("closed with %v", err)
			}
			_ = ended() // whatever it says
		})
	}
}

// TestHandshakes refuses what is no handshake, with the status and the headers that say so.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	good := func() *http.Request {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"AAAAAAAAAAAAAAAAAAAAAA=="}}
		return r
	}
	if err := lexsocket.Check(good()); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		change func(r *http.Request)
		status int
	}{
		"plain":    {func(r *http.Request) { r.Header.Del("Upgrade") }, 426},
		"kept":     {func(r *http.Request) { r.Header.Set("Connection", "keep-alive") }, 426},
		"HTTP/2":   {func(r *http.Request) { r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0 }, 426},
		"version":  {func(r *http.Request) { r.Header.Set("Sec-Websocket-Version", "8") }, 426},
		"no key":   {func(r *http.Request) { r.Header.Del("Sec-Websocket-Key") }, 400},
		"two keys": {func(r *http.Request) { r.Header.Add("Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==") }, 400},
		"bad key":  {func(r *http.Request) { r.Header.Set("Sec-Websocket-Key", "AAAA") }, 400},
	} {
		r, h := good(), http.Header{}
		c.change(r)
		err := lexsocket.Check(r)
		if err == nil || err.Status != c.status {
			t.Errorf("%s: %v", name, err)
			continue
		}
		lexsocket.Headers(h, err)
		if (h.Get("Upgrade") == "websocket") != (c.status == 426) {
			t.Errorf("%s: %v", name, h)
		}
	}
}

// TestClientsHaveNothingToSay ends connections whose clients send messages, of any size, or too
// many control frames, or nothing that the protocol knows.
func TestClientsHaveNothingToSay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		data []byte
		// code is that of the close frame, 0 where the connection may just end.
		code int
	}{
		"message":      {frame(opText, 5, "hello"), 1008},
		"huge message": {frame(opText, 1<<62, strings.Repeat("a", 1<<20)), 1008},
		"pings":        {bytes.Repeat(frame(opPing, 0, ""), 1000), 1008},
		"pongs":        {bytes.Repeat(frame(opPong, 0, ""), 1000), 1008},
		"long ping":    {frame(opPing, 1<<20, strings.Repeat("a", 1<<10)), 0},
		"opcode":       {frame(5, 0, ""), 1002},
		"unmasked":     {[]byte{0x89, 0}, 0},
		"reserved":     {[]byte{0xf9, 0x80, 0, 0, 0, 0}, 1002},
		"bad close":    {frame(opClose, 1, "a"), 0},
		"close":        {frame(opClose, 2, "\x03\xe8"), 1000},
		"nothing":      {nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, ended := serve(t, lexsocket.Options{}, untilGone)
			client := handshake(t, addr)
			go func() {
				_, _ = client.Write(c.data) // the server may be gone before its end
				if c.data == nil {
					client.Close()
				}
			}()
			if c.code != 0 {
				if got := client.code(t); got != c.code {
					t.Errorf("closed with %d", got)
				}
				client.Close()
			}
			if err := ended(); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// TestEndlessMessageDuringClose: a client that keeps sending instead of closing is cut off.
func TestEndlessMessageDuringClose(t *testing.T) {
	t.Parallel()
	addr, ended := serve(t, lexsocket.Options{}, func(context.Context, lexrt.Subscribed) error { return nil })
	client := handshake(t, addr)
	if _, err := client.Write(frame(opText, 1<<62, "")); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := client.Write(make([]byte, 1<<10)); err != nil {
			break
		}
	}
	_ = ended() // whatever it says
}

// TestDeadClients are found out by pings, and slow ones by writes.
func TestDeadClients(t *testing.T) {
	t.Parallel()
	t.Run("no pongs", func(t *testing.T) {
		t.Parallel()
		addr, ended := serve(t, lexsocket.Options{Ping: time.Millisecond, Pong: 50 * time.Millisecond}, untilGone)
		handshake(t, addr)
		_ = ended() // whatever it says
	})
	t.Run("pongs", func(t *testing.T) {
		t.Parallel()
		pings := make(chan struct{})
		addr, ended := serve(t, lexsocket.Options{Ping: time.Millisecond, Pong: time.Minute}, untilGone)
		conn, _, err := websocket.Dial(t.Context(), "ws://"+addr, &websocket.DialOptions{OnPingReceived: func(ctx context.Context, _ []byte) bool { //nolint:bodyclose // as above
			select {
			case pings <- struct{}{}:
			case <-ctx.Done():
			}
			return true
		}})
		if err != nil {
			t.Fatal(err)
		}
		conn.CloseRead(t.Context())
		for range 10 {
			<-pings
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Error(err)
		}
		_ = ended() // whatever it says
	})
	// What a write may take is over when the next ping is sent, and when a pong is.
	t.Run("pongs after messages", func(t *testing.T) {
		t.Parallel()
		pings := make(chan struct{})
		addr, ended := serve(t, lexsocket.Options{Ping: 100 * time.Millisecond, Write: 50 * time.Millisecond}, func(ctx context.Context, out lexrt.Subscribed) error {
			err := errors.Join(out.Send(method.NSID+"#note", &note{"a"}), out.LongFrame([]byte("\xa1\x62op\x01\xa0"), func() bool { return true }))
			<-ctx.Done()
			return err
		})
		conn, _, err := websocket.Dial(t.Context(), "ws://"+addr, &websocket.DialOptions{OnPingReceived: func(ctx context.Context, _ []byte) bool { //nolint:bodyclose // as above
			select {
			case pings <- struct{}{}:
			case <-ctx.Done():
			}
			return true
		}})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, _, err := conn.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		gone := conn.CloseRead(t.Context())
		for range 3 {
			select {
			case <-pings:
			case <-gone.Done():
				t.Fatal("the connection is cut")
			}
			if err := conn.Ping(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		_ = conn.CloseNow() // whatever it says
		_ = ended()         // as above
	})
	for name, write := range map[string]func(out lexrt.Subscribed, frame []byte) error{
		"slow": func(out lexrt.Subscribed, frame []byte) error { return out.Frames(frame) },
		"slow long": func(out lexrt.Subscribed, frame []byte) error {
			return out.LongFrame(frame, func() bool { return true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, ended := serve(t, lexsocket.Options{Write: 50 * time.Millisecond}, func(_ context.Context, out lexrt.Subscribed) error {
				for {
					if err := write(out, make([]byte, 1<<20)); err != nil {
						return err
					}
				}
			})
			handshake(t, addr)
			if err := ended(); err == nil || errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}

// TestGivenUp ends a connection in the middle of a long message, and says so.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	addr, ended := serve(t, lexsocket.Options{}, func(_ context.Context, out lexrt.Subscribed) error {
		pieces := 0
		return out.LongFrame(make([]byte, 1<<20), func() bool { pieces++; return pieces < 5 })
	})
	if _, data, err := dial(t, addr).Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusTryAgainLater {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := ended(); err == nil {
		t.Error("the endpoint was told of success")
	}
}
