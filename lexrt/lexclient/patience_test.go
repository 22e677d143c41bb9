package lexclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mls-server/lexrt"
)

// TestSlowEvents: an event that takes longer than a silence may last gets through, as long as parts
// of it come.
func TestSlowEvents(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		out, in := io.Pipe()
		// As a request that is cancelled ends its body.
		c := newConnection(out, func() { _ = out.Close() }, "", 1<<20, time.Minute)
		defer c.close()
		go func() {
			for _, part := range []string{"data: o", "n", "e", "\n", "\n"} {
				time.Sleep(50 * time.Second)
				_, _ = io.WriteString(in, part) // the reader says what went wrong
			}
		}()
		if f, err := c.next(t.Context()); err != nil || string(f.data) != "one" {
			t.Errorf("%v, %v", f, err)
		}
		if _, err := c.next(t.Context()); !errors.Is(err, errIdle) {
			t.Errorf("nothing comes any more: %v", err)
		}
	})
}

// mute is a service that takes connections and says nothing.
func mute(t *testing.T, opt Options) (c *Client, taken chan struct{}) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	taken = make(chan struct{}, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
			taken <- struct{}{}
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	if c, err = New("http://"+l.Addr().String(), opt); err != nil {
		t.Fatal(err)
	}
	return c, taken
}

// door is one of the two kinds of streams.
type door interface {
	Close()
	follow(ctx context.Context) error
}

func doors(c *Client) map[string]door {
	return map[string]door{"events": byEvents{follow(c, "")}, "socket": bySocket{NewSubscription(c, notes, nil, Resume{}, decoded)}}
}

type byEvents struct{ *Stream[text] }

func (b byEvents) follow(ctx context.Context) error { _, err := b.Next(ctx); return err }

type bySocket struct{ *Subscription[string] }

func (b bySocket) follow(ctx context.Context) error { _, err := b.Next(ctx); return err }

// TestMuteServices: a service that takes a connection and says nothing is left after a while, and
// Close ends the wait for it, and the wait between two tries.
func TestMuteServices(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{time.Minute, time.Millisecond} {
		c, taken := mute(t, Options{IdleTimeout: idle})
		for name, s := range doors(c) {
			ended := make(chan error)
			go func() { ended <- s.follow(t.Context()) }()
			<-taken
			if idle < time.Second {
				<-taken // it has given up the first
			}
			s.Close()
			if err := <-ended; !errors.Is(err, ErrClosed) {
				t.Errorf("%s, %v: %v", name, idle, err)
			}
		}
	}
}

// TestErrorsOfSources: what the caller's own source of tokens cannot do is said at once; what a
// service answered it, or a network that is away, may pass.
func TestErrorsOfSources(t *testing.T) {
	t.Parallel()
	broken := errors.New("the key is gone")
	for name, opt := range map[string]struct {
		err   error
		final bool
	}{
		"its own":   {broken, true},
		"refused":   {&lexrt.Error{Name: "Forbidden", Status: http.StatusForbidden}, true},
		"busy":      {&lexrt.Error{Name: "RateLimitExceeded", Status: http.StatusBadRequest}, false},
		"unreached": {&url.Error{Op: "Get", URL: "https://pds.example", Err: io.ErrUnexpectedEOF}, false},
	} {
		for _, door := range []string{"events", "socket"} {
			t.Run(name+" "+door, func(t *testing.T) {
				t.Parallel()
				asked := make(chan struct{}, 10)
				c := serve(t, Options{Token: func(context.Context, string) (string, error) {
					asked <- struct{}{}
					return "", opt.err
				}}, func(http.ResponseWriter, *http.Request) { t.Error("a call without a token") })
				s := doors(c)[door]
				ended := make(chan error)
				go func() { ended <- s.follow(t.Context()) }()
				<-asked
				if !opt.final {
					<-asked // again
					s.Close()
					if err := <-ended; !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				if err := <-ended; !errors.Is(err, opt.err) {
					t.Error(err)
				}
				if len(asked) > 0 {
					t.Error("it was asked again")
				}
			})
		}
	}
}

// TestNoRedirects: a redirect is an answer of no method. Nothing is sent to where it leads, above
// all no token.
func TestNoRedirects(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") }))
	t.Cleanup(elsewhere.Close)
	opt := Options{Token: func(context.Context, string) (string, error) { return "secret", nil }}
	c := serve(t, opt, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	calls := map[string]func(ctx context.Context) error{
		"query":     func(ctx context.Context) error { return c.Call(ctx, query, nil, nil, nil) },
		"procedure": func(ctx context.Context) error { return c.Call(ctx, put, nil, new(text("{}")), nil) },
	}
	for name, s := range doors(c) {
		calls[name] = s.follow
	}
	for name, call := range calls {
		named, ok := errors.AsType[*lexrt.Error](call(t.Context()))
		if !ok || named.Status != http.StatusTemporaryRedirect {
			t.Errorf("%s: %v", name, named)
		}
	}
}

// TestStreamsAreNotCompressed: a proxy that compresses holds back what it compresses.
func TestStreamsAreNotCompressed(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		if got := r.Header.Get("Accept-Encoding"); got != "identity" {
			t.Errorf("Accept-Encoding: %q", got)
		}
		// A proxy may have changed the status: the name says that one waits.
		if calls.Add(1) == 1 {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.Copy(w, strings.NewReader(`{"error": "NotEnoughResources"}`))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "data: 1\n\n")
	})
	s := follow(c, "")
	defer s.Close()
	if e, err := s.Next(t.Context()); err != nil || *e.Data != "1" {
		t.Errorf("%v %v", e, err)
	}
}
