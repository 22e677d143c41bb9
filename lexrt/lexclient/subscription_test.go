package lexclient

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

var notes = &lexrt.Method{NSID: "com.example.subscribeNotes", Kind: lexrt.Subscription, Errors: []*lexrt.Error{{Name: "Busy", Status: 503}}}

// sends are the messages of one connection. What is text goes as a text message.
type sends []any

// message is a frame of a note.
func message(t *testing.T, typ, src string) []byte {
	t.Helper()
	in := text(src)
	frame, err := lexcbor.AppendMessage(nil, notes.NSID, typ, &in)
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

func failure(t *testing.T, name string) []byte {
	t.Helper()
	frame, err := lexcbor.AppendError(nil, &lexrt.Error{Name: name, Message: "so"})
	if err != nil {
		t.Fatal(err)
	}
	return frame
}

// subscribed serves connections in turn and notes their parameters. After the last it says 400.
func subscribed(t *testing.T, opt Options, connections ...sends) (c *Client, asked func() []string) {
	t.Helper()
	queries := make(chan string, 100)
	next := 0
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		queries <- r.URL.RawQuery + " " + r.Header.Get("Authorization")
		if next == len(connections) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, err := w.Write([]byte(`{"error":"Over","message":"there is no more"}`))
			if err != nil {
				t.Error(err)
			}
			return
		}
		mine := connections[next]
		next++
		ws, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = ws.CloseNow() }() // it may be closed
		ctx := ws.CloseRead(r.Context())
		for _, m := range mine {
			switch m := m.(type) {
			case []byte:
				err = ws.Write(ctx, websocket.MessageBinary, m)
			case string:
				err = ws.Write(ctx, websocket.MessageText, []byte(m))
			case time.Duration: // silence, but for pings
				for deadline := time.NewTimer(m); ctx.Err() == nil && err == nil; {
					select {
					case <-deadline.C:
						err = context.Canceled
					default:
						err = ws.Ping(ctx)
					}
				}
				err = nil
			case nil:
				<-ctx.Done()
			}
			if err != nil {
				return
			}
		}
		_ = ws.Close(websocket.StatusNormalClosure, "") // the client may be gone
	}))
	t.Cleanup(web.Close)
	c, err := New(web.URL, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c, func() (all []string) {
		for len(queries) > 0 {
			all = append(all, <-queries)
		}
		return all
	}
}

// read follows to the first error, and returns what came.
func read(t *testing.T, s *Subscription[string]) (all []string, err error) {
	t.Helper()
	for m, err := range s.All(t.Context()) {
		if err != nil {
			return all, err
		}
		all = append(all, strings.TrimPrefix(m.Type, notes.NSID)+m.Data+"@"+m.Position)
	}
	return all, nil
}

func decoded(typ string, body []byte) (string, error) {
	switch {
	case strings.HasSuffix(typ, "#later"):
		return "", lexrt.ErrUnknownMessage
	case strings.HasSuffix(typ, "#bad"):
		return "", &lexrt.InvalidError{What: "message", Issues: []lexrt.Issue{{Rule: "type", Problem: "must be good"}}}
	}
	return string(body), nil
}

// TestSubscriptionGoesOn resumes after each kind of break, and passes over what it does not know.
func TestSubscriptionGoesOn(t *testing.T) {
	t.Parallel()
	const note = "com.example.subscribeNotes#note"
	token := func(context.Context, string) (string, error) { return "", errors.New("no token is needed") }
	c, asked := subscribed(t, Options{MaxEvent: 1000, Token: token},
		sends{message(t, note, `{"seq":1}`), message(t, note+"#later", `{"seq":2}`), message(t, note, `{"text":"no position"}`)},
		sends{[]byte("\xa1\x62op\x05\xa0"), message(t, note, `{"seq":3,"more":{"seq":9}}`), failure(t, "ConsumerTooSlow")},
		sends{failure(t, "Busy")},
		sends{"text"},
		sends{[]byte("rubbish")},
		sends{message(t, note, `{"seq":4}`)},
	)
	s := NewSubscription(c, notes, url.Values{"a": {"b"}}, Resume{Param: "cursor", Member: "seq"}, decoded)
	s.Ticket = func(context.Context) (endpoint, ticket string, err error) { return "", "x", nil }
	all, err := read(t, s)
	if want := []string{`#note{"seq":1}@1`, `#note{"text":"no position"}@2`, `#note{"seq":3,"more":{"seq":9}}@3`, `#note{"seq":4}@4`}; !slices.Equal(all, want) {
		t.Errorf("%q", all)
	}
	if named, ok := errors.AsType[*lexrt.Error](err); !ok || named.Name != "Over" || named.Message != "there is no more" {
		t.Error(err)
	}
	if got, want := asked(), []string{"a=b&ticket=x ", "a=b&cursor=2&ticket=x ", "a=b&cursor=3&ticket=x ", "a=b&cursor=3&ticket=x ", "a=b&cursor=3&ticket=x ", "a=b&cursor=3&ticket=x ", "a=b&cursor=4&ticket=x "}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if s.Position() != "4" {
		t.Error(s.Position())
	}
}

// TestSubscriptionGivesUp fails where trying again would be of no use.
func TestSubscriptionGivesUp(t *testing.T) {
	t.Parallel()
	const note = "com.example.subscribeNotes#note"
	for name, c := range map[string]struct {
		send sends
		want string
	}{
		"refused":   {sends{failure(t, "FutureCursor")}, "FutureCursor: so"},
		"too large": {sends{message(t, note, `{"seq":1,"text":"`+strings.Repeat("a", 2000)+`"}`)}, errEventSize.Error()},
		"invalid":   {sends{message(t, "com.example.subscribeNotes#bad", `{"seq":1}`)}, "com.example.subscribeNotes: a message breaks its schema"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, _ := subscribed(t, Options{MaxEvent: 1000}, c.send)
			if all, err := read(t, NewSubscription(client, notes, nil, Resume{}, decoded)); len(all) > 0 || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%q, %v", all, err)
			}
		})
	}
}

// TestSubscriptionLeavesDeadConnections: pings keep a connection, silence does not.
func TestSubscriptionLeavesDeadConnections(t *testing.T) {
	t.Parallel()
	const note = "com.example.subscribeNotes#note"
	token := func(_ context.Context, lxm string) (string, error) { return "for-" + lxm, nil }
	c, asked := subscribed(t, Options{IdleTimeout: 3 * time.Second, Token: token},
		sends{4 * time.Second, message(t, note, `{"seq":1}`), nil},
		sends{message(t, note, `{"seq":2}`)},
	)
	all, err := read(t, NewSubscription(c, notes, nil, Resume{Param: "cursor", Member: "seq"}, decoded))
	if want := []string{`#note{"seq":1}@1`, `#note{"seq":2}@2`}; !slices.Equal(all, want) || err == nil {
		t.Errorf("%q, %v", all, err)
	}
	const bearer = " Bearer for-com.example.subscribeNotes"
	if got := asked(); !slices.Equal(got, []string{bearer, "cursor=1" + bearer, "cursor=2" + bearer}) {
		t.Errorf("%q", got)
	}
}

// TestClosedSubscription ends a call that waits.
func TestClosedSubscription(t *testing.T) {
	t.Parallel()
	c, _ := subscribed(t, Options{}, sends{message(t, "com.example.subscribeNotes#note", `{}`), nil})
	s := NewSubscription(c, notes, nil, Resume{}, decoded)
	if _, err := s.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	go s.Close()
	if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

// TestTicketOfAnotherAddress connects where the ticket says, and gives up when there is none.
func TestTicketOfAnotherAddress(t *testing.T) {
	t.Parallel()
	there, asked := subscribed(t, Options{}, sends{message(t, "com.example.subscribeNotes#note", `{"seq":1}`)})
	here, missed := subscribed(t, Options{})
	s := NewSubscription(here, notes, nil, Resume{}, decoded)
	defer s.Close()
	s.Ticket = func(context.Context) (endpoint, ticket string, err error) {
		return "ws" + strings.TrimPrefix(there.base, "http") + "/x", "y", nil
	}
	if _, err := s.Next(t.Context()); err != nil || !slices.Equal(asked(), []string{"ticket=y "}) || len(missed()) > 0 {
		t.Error(err)
	}
	refused := NewSubscription(here, notes, nil, Resume{}, decoded)
	refused.Ticket = func(context.Context) (endpoint, ticket string, err error) {
		return "", "", &lexrt.Error{Name: "AccountTakedown", Status: http.StatusUnauthorized}
	}
	if _, err := refused.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "AccountTakedown") {
		t.Error(err)
	}
}
