package xrpc_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/internal/clock"
	"mls-server/lexrt"
)

// wire serves a handler over connections in memory, so that a test in a synctest
// bubble has net/http itself and decides what time it is.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newWire(t *testing.T, h http.Handler) *wire {
	t.Helper()
	w := &wire{make(chan net.Conn), make(chan struct{})}
	server := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 2 * time.Minute, IdleTimeout: 2 * time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(w)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
		time.Sleep(time.Second) // net/http waits for half of one before it closes a connection
	})
	return w
}

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	select {
	case <-w.closed:
	default:
		close(w.closed)
	}
	return nil
}
func (w *wire) Addr() net.Addr { return &net.TCPAddr{} }

// dial opens a connection that is closed with the test.
func (w *wire) dial(t *testing.T) net.Conn {
	t.Helper()
	client, server := net.Pipe()
	w.conns <- server
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// upload sends a request head, then pieces with a pause after each, and returns
// the answer, and how long it took.
func (w *wire) upload(t *testing.T, head string, pieces int, piece []byte, pause time.Duration) (*http.Response, string, time.Duration) {
	t.Helper()
	begin := time.Now()
	conn := w.dial(t)
	go func() {
		if _, err := io.WriteString(conn, head); err != nil {
			return
		}
		for range pieces {
			if _, err := conn.Write(piece); err != nil {
				return
			}
			if clock.Pause(t.Context(), pause) != nil {
				return
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("half an answer: %v", err)
	}
	return resp, string(body), time.Since(begin)
}

// putHead is the head of an upload of some bytes.
func putHead(token string, size int, more string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n%s\r\n",
		putPath, token, size, more)
}

// A body that stalls, or comes slower than 4 KiB a second once 10 s are over, is
// answered with 408 and the end of the connection; a slow one that keeps the pace
// is read, and so is what its endpoint does after it.
func TestSlowBodies(t *testing.T) {
	t.Parallel()
	gz := func(n int) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(make([]byte, n))
		_ = z.Close()
		return b.Bytes()
	}
	for _, c := range []struct {
		name   string
		head   string
		pieces int
		piece  []byte
		pause  time.Duration
		status int
		took   time.Duration
	}{
		{"a small one stalls", putHead("good", 500, ""), 1, []byte("{"), time.Hour, 408, 10 * time.Second},
		{"a large one stalls", putHead("good", 200_000, ""), 1, make([]byte, 8), time.Hour, 408, 10 * time.Second},
		{"nothing comes", putHead("good", 500, ""), 0, nil, 0, 408, 10 * time.Second},
		{"a compressed one stalls", putHead("good", 500, "Content-Encoding: gzip\r\n"), 1, gz(1000)[:12], time.Hour, 408, 10 * time.Second},
		{"a compressed one stalls in its head", putHead("good", 500, "Content-Encoding: gzip\r\n"), 1, gz(1000)[:2], time.Hour, 408, 10 * time.Second},
		{"a deflated one stalls in its head", putHead("good", 500, "Content-Encoding: deflate\r\n"), 1, []byte{0x78}, time.Hour, 408, 10 * time.Second},
		{"3 KiB a second", putHead("good", 1<<20, ""), 300, make([]byte, 3<<10), time.Second, 408, 0},
		{"5 KiB a second", putHead("good", 50*5<<10, ""), 50, make([]byte, 5<<10), time.Second, 200, 0},
		{"5 KiB a second for more than two minutes", putHead("good", 1<<20, ""), 200, make([]byte, 5<<10), time.Second, 408, 2 * time.Minute},
		{"refused, and it stalls", putHead("bad", 500, ""), 1, []byte("{"), time.Hour, 401, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fixture{ipTokens: 1000, endpoint: func(ctx context.Context, _ *lexrt.Request) (lexrt.Response, error) {
					return text("ok"), clock.Pause(ctx, 29*time.Second)
				}}
				w := newWire(t, f.handler(t, clock.System, 0))
				resp, body, took := w.upload(t, c.head, c.pieces, c.piece, c.pause) //nolint:bodyclose // upload has read and closed it
				if resp.StatusCode != c.status || body == "" {
					t.Errorf("%d %q, want %d", resp.StatusCode, body, c.status)
				}
				if c.status == http.StatusRequestTimeout && (!resp.Close || !strings.Contains(body, "RequestTimeout")) {
					t.Errorf("close is %v, %s", resp.Close, body)
				}
				if c.took != 0 && took != c.took {
					t.Errorf("answered after %v, want %v", took, c.took)
				}
			})
		})
	}
}

// Whatever becomes of a request, its client reads an answer or sees the
// connection end: an empty success is what only a method without output says.
func TestEveryRequestIsAnswered(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 100_000)
	methods := map[string]string{"query": getPath, "procedure": putPath, "stream": "/xrpc/test.example.stream", "unknown": "/xrpc/test.example.unknown", "elsewhere": "/nope", "invalid": "/xrpc/*"}
	for name, path := range methods {
		for _, verb := range []string{"GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE", "TRACE", "PATCH"} {
			for _, proto := range []string{"HTTP/1.1", "HTTP/1.0"} {
				for _, connection := range []string{"keep-alive", "close"} {
					for _, token := range []string{"good", "bad"} {
						for _, body := range []string{
							"\r\n", "Content-Length: 2\r\n\r\n{}", "Content-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
							"Content-Length: 100000\r\nContent-Type: text/plain\r\n\r\n" + large,
							"Content-Length: 2\r\nContent-Type: application/json\r\nContent-Encoding: zzz\r\n\r\n{}",
							"Content-Length: 2\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n\r\n{}",
							"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
							"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\nzz\r\n",
							"Expect: 100-continue\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}",
						} {
							what := strings.Join([]string{name, verb, proto, connection, token, strings.ReplaceAll(body[:min(len(body), 90)], "\r\n", " ")}, ", ")
							request := fmt.Sprintf("%s %s %s\r\nHost: x\r\nConnection: %s\r\nAuthorization: Bearer %s\r\n%s", verb, path, proto, connection, token, body)
							answered(t, what, verb, request)
						}
					}
				}
			}
		}
	}
}

// answered sends a request to a server of its own and judges the answer.
func answered(t *testing.T, what, verb, request string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fixture{ipTokens: 1000, endpoint: func(context.Context, *lexrt.Request) (lexrt.Response, error) { return text("ok"), nil }}
		f.stream = func(_ context.Context, _ *lexrt.Request, out lexrt.EventStream) error { return out.Comment("hello") }
		conn := newWire(t, f.handler(t, clock.System, 0)).dial(t)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(conn, request)
			sent <- err
		}()
		in := bufio.NewReader(conn)
		resp, err := http.ReadResponse(in, &http.Request{Method: verb})
		for err == nil && resp.StatusCode == http.StatusContinue {
			resp, err = http.ReadResponse(in, &http.Request{Method: verb})
		}
		if err != nil {
			t.Errorf("%s: no answer: %v", what, err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		empty := len(body) == 0 && resp.StatusCode == http.StatusOK && verb != "HEAD" && verb != "OPTIONS"
		if err != nil || empty || resp.StatusCode >= 500 && resp.StatusCode != http.StatusNotImplemented {
			t.Errorf("%s: %d %q, %v", what, resp.StatusCode, body, err)
		}
		// net/http itself refuses what is no HTTP
		if resp.StatusCode != http.StatusBadRequest || strings.HasPrefix(resp.Header.Get("Content-Type"), asJSON) {
			for _, header := range []string{"Access-Control-Allow-Origin", "X-Request-Id"} {
				if resp.Header.Get(header) == "" {
					t.Errorf("%s: %d without %s", what, resp.StatusCode, header)
				}
			}
		}
		if strings.Contains(request, "Content-Length: 100000") {
			if err := <-sent; err != nil {
				t.Errorf("%s: the client could not send what it had announced: %v", what, err)
			}
		}
	})
}

// A client that leaves before its answer, and an endpoint that gives none, end
// the connection or are told; net/http never makes a success of them.
func TestSilenceIsNoSuccess(t *testing.T) {
	t.Parallel()
	head := "GET " + getPath + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer good\r\n\r\n"
	stream := strings.Replace(head, getPath, "/xrpc/test.example.stream", 1)
	t.Run("the client sends its end", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.endpoint = func(ctx context.Context, _ *lexrt.Request) (lexrt.Response, error) {
			<-ctx.Done()
			return nil, errors.New("store: " + ctx.Err().Error())
		}
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, head); err != nil {
			t.Fatal(err)
		}
		if err := conn.(*net.TCPConn).CloseWrite(); err != nil { //nolint:errcheck,forcetypeassert // it was dialled as TCP
			t.Fatal(err)
		}
		if answer, err := io.ReadAll(conn); len(answer) != 0 {
			t.Errorf("the connection ended with %q, %v", answer, err)
		}
		f.Close() // waits for the request, and so for its event
		if len(f.events) != 1 || f.events[0].Status != 499 || f.events[0].Error != "ClientGone" {
			t.Errorf("%+v", f.events)
		}
	})
	for name, c := range map[string]struct {
		request  string
		endpoint lexrt.StreamEndpoint
		want     string
	}{
		"a stream that says nothing":  {stream, func(context.Context, *lexrt.Request, lexrt.EventStream) error { return nil }, "InternalServerError"},
		"a stream that fails at once": {stream, func(context.Context, *lexrt.Request, lexrt.EventStream) error { return errors.New("x") }, "InternalServerError"},
		"a stream that panics after its first event": {stream, func(_ context.Context, _ *lexrt.Request, out lexrt.EventStream) error {
			_ = out.Comment("hello")
			panic("x")
		}, "cut"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &fixture{ipTokens: 1000, stream: c.endpoint}
				conn := newWire(t, f.handler(t, clock.System, 0)).dial(t)
				go func() { _, _ = io.WriteString(conn, c.request) }()
				resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = resp.Body.Close() }()
				body, err := io.ReadAll(resp.Body)
				if cut := err != nil; cut != (c.want == "cut") || !cut && !strings.Contains(string(body), c.want) {
					t.Errorf("%d %q, %v; want %s", resp.StatusCode, body, err, c.want)
				}
			})
		})
	}
}
