package lexclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mls-server/lexrt"
)

// text is an answer that is any JSON.
type text string

func (v *text) UnmarshalJSON(src []byte) error {
	if string(src) == `"bad"` {
		return &lexrt.InvalidError{What: "value", Issues: []lexrt.Issue{{Rule: "type", Problem: "must be good"}}}
	}
	*v = text(src)
	return nil
}

func (v *text) AppendJSON(dst []byte) []byte { return append(dst, *v...) }

var (
	query  = &lexrt.Method{NSID: "com.example.getThing", Kind: lexrt.Query, Output: "application/json"}
	put    = &lexrt.Method{NSID: "com.example.putThing", Kind: lexrt.Procedure, Input: "application/json", Output: "application/json"}
	events = &lexrt.Method{NSID: "com.example.getEvents", Kind: lexrt.Query, Output: "text/event-stream"}
)

func serve(t *testing.T, opt Options, h http.HandlerFunc) *Client {
	t.Helper()
	web := httptest.NewServer(h)
	t.Cleanup(web.Close)
	c, err := New(web.URL, opt)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func answer(contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		fmt.Fprint(w, body)
	}
}

func TestNewRefusesBadAddresses(t *testing.T) {
	t.Parallel()
	for _, base := range []string{"", "mls.example.com", "ftp://x", "https://", "https://x?a=b", "https://x#y", "https://x\n"} {
		if _, err := New(base, Options{}); err == nil {
			t.Errorf("%q was accepted", base)
		}
	}
}

func TestCall(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{UserAgent: "test/1"}, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		fmt.Fprintf(w, "%q", strings.Join([]string{r.Method, r.URL.String(), r.Header.Get("Content-Type"), r.Header.Get("Authorization"), r.UserAgent(), string(body)}, " "))
	})
	in, out := text(`{"a":1}`), text("")
	if err := c.Call(t.Context(), put, nil, &in, &out); err != nil || out != `"POST /xrpc/com.example.putThing application/json  test/1 {\"a\":1}"` {
		t.Errorf("%s %v", out, err)
	}
	if err := c.Call(t.Context(), query, url.Values{"a": {"1", "2 3"}}, nil, &out); err != nil || out != `"GET /xrpc/com.example.getThing?a=1&a=2+3   test/1 "` {
		t.Errorf("%s %v", out, err)
	}
}

func TestOpenMethodsSendNoToken(t *testing.T) {
	t.Parallel()
	tokens := func(_ context.Context, lxm string) (string, error) { return "for " + lxm, nil }
	c := serve(t, Options{Token: tokens}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "%q", r.Header.Get("Authorization"))
	})
	open := *query
	open.Open = true
	for m, want := range map[*lexrt.Method]string{query: `"Bearer for com.example.getThing"`, &open: `""`} {
		out := text("")
		if err := c.Call(t.Context(), m, nil, nil, &out); err != nil || string(out) != want {
			t.Errorf("open %v: %s %v, want %s", m.Open, out, err, want)
		}
	}
}

func TestBadAnswers(t *testing.T) {
	t.Parallel()
	var invalid *lexrt.InvalidError
	out := text("")
	if err := serve(t, Options{}, answer("application/json", `"bad"`)).Call(t.Context(), query, nil, nil, &out); !errors.As(err, &invalid) {
		t.Errorf("invalid: %v", err)
	}
	for name, c := range map[string]struct {
		opt  Options
		h    http.HandlerFunc
		want string
	}{
		"html":  {Options{}, answer("text/html", "<p>"), "not JSON"},
		"large": {Options{MaxResponse: 4}, answer("application/json", `"12345"`), "larger than 4 bytes"},
	} {
		if err := serve(t, c.opt, c.h).Call(t.Context(), query, nil, nil, &out); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := serve(t, Options{}, answer("text/html", "<p>")).Call(t.Context(), query, nil, nil, nil); err != nil {
		t.Errorf("an answer that nobody reads: %v", err)
	}
}

func TestErrorAnswers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status      int
		typ, body   string
		retry, date string
		want        lexrt.Error
	}{
		"named":      {409, "application/json", `{"error":"EpochMismatch","message":"now 4","x":[1,{"error":"no"}]}`, "", "", lexrt.Error{Name: "EpochMismatch", Status: 409, Message: "now 4"}},
		"retry":      {429, "application/json", `{"error":"RateLimitExceeded"}`, "12", "", lexrt.Error{Name: "RateLimitExceeded", Status: 429, RetryAfter: 12 * time.Second}},
		"retry date": {503, "text/plain", "x", "Thu, 15 Jan 2026 09:30:05 GMT", "Thu, 15 Jan 2026 09:30:00 GMT", lexrt.Error{Name: "NotEnoughResources", Status: 503, RetryAfter: 5 * time.Second}},
		"past date":  {503, "text/plain", "x", "Thu, 15 Jan 2026 09:30:00 GMT", "Thu, 15 Jan 2026 09:30:05 GMT", lexrt.Error{Name: "NotEnoughResources", Status: 503}},
		"negative":   {503, "text/plain", "x", "-4", "", lexrt.Error{Name: "NotEnoughResources", Status: 503}},
		"html":       {502, "text/html", "<h1>Bad Gateway</h1>", "", "", lexrt.Error{Name: "UpstreamFailure", Status: 502}},
		"not object": {400, "application/json", `[1]`, "", "", lexrt.Error{Name: "InvalidRequest", Status: 400}},
		"cut off":    {401, "application/json", `{"error":"BadJwt","mess`, "", "", lexrt.Error{Name: "AuthenticationRequired", Status: 401}},
		"no name":    {404, "application/json", `{"message":7}`, "", "", lexrt.Error{Name: "XRPCNotSupported", Status: 404, Message: ""}},
		"odd":        {304, "", "", "", "", lexrt.Error{Name: "UnexpectedStatus", Status: 304}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", c.typ)
				if c.retry != "" {
					w.Header().Set("Retry-After", c.retry)
				}
				if c.date != "" {
					w.Header().Set("Date", c.date)
				}
				w.WriteHeader(c.status)
				if c.body != "" {
					fmt.Fprint(w, c.body)
				}
			})
			var got *lexrt.Error
			if err := client.Call(t.Context(), query, nil, nil, nil); !errors.As(err, &got) || got.Name != c.want.Name || got.Status != c.want.Status || got.Message != c.want.Message || got.RetryAfter != c.want.RetryAfter {
				t.Errorf("%+v, want %+v", got, c.want)
			}
		})
	}
}

func frames(t *testing.T, stream string, limit int) (out []frame, last string, err error) {
	t.Helper()
	_, cancel := context.WithCancel(t.Context())
	c := newConnection(io.NopCloser(strings.NewReader(stream)), cancel, "start", limit, time.Minute)
	defer c.close()
	for {
		f, err := c.next(t.Context())
		if err != nil {
			return out, c.lastID, err
		}
		out = append(out, *f)
	}
}

func TestFraming(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ stream, want, last string }{
		"plain":         {"id: 1\nevent: a\ndata: x\n\n", "1|a|x", "1"},
		"crlf":          {"id: 1\r\nevent: a\r\ndata: x\r\n\r\n", "1|a|x", "1"},
		"cr":            {"id: 1\revent: a\rdata: x\r\r", "1|a|x", "1"},
		"bom":           {"\xef\xbb\xbfid: 1\ndata: x\n\n", "1|message|x", "1"},
		"no space":      {"id:1\ndata:x\n\n", "1|message|x", "1"},
		"one space":     {"data:  x\n\n", "start|message| x", "start"},
		"lines":         {"data: x\ndata\ndata: y\n\n", "start|message|x\n\ny", "start"},
		"comment":       {": hello\n\ndata: x\n\n", "start|message|x", "start"},
		"id only":       {"id: 7\n\n", "", "7"},
		"id stays":      {"id: 7\ndata: x\n\ndata: y\n\n", "7|message|x,7|message|y", "7"},
		"id is cleared": {"id\ndata: x\n\n", "|message|x", ""},
		"id with nul":   {"id: a\x00b\ndata: x\n\n", "start|message|x", "start"},
		"name is reset": {"event: a\n\ndata: x\n\n", "start|message|x", "start"},
		"unknown":       {"retry: 10\nfoo: bar\ndata: x\n\n", "start|message|x", "start"},
		"cut off":       {"id: 1\ndata: x\n\nid: 2\ndata: y\n", "1|message|x", "1"},
		"empty data":    {"data\n\n", "start|message|", "start"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, last, err := frames(t, c.stream, 1000)
			if !errors.Is(err, io.EOF) {
				t.Errorf("%v", err)
			}
			var parts []string
			for _, f := range got {
				parts = append(parts, f.id+"|"+f.name+"|"+string(f.data))
			}
			if s := strings.Join(parts, ","); s != c.want || last != c.last {
				t.Errorf("%q after %q, want %q after %q", s, last, c.want, c.last)
			}
		})
	}
	for _, long := range []string{"data: " + strings.Repeat("x", 100), strings.Repeat("data: x\n", 100)} {
		if _, _, err := frames(t, long, 50); !errors.Is(err, errEventSize) {
			t.Errorf("%v", err)
		}
	}
}

func FuzzFraming(f *testing.F) {
	f.Add("id: 1\r\ndata: x\r\rdata\n\n: c\n")
	f.Fuzz(func(t *testing.T, stream string) {
		got, _, err := frames(t, stream, 1000)
		if err == nil {
			t.Error("the stream has no end")
		}
		for _, e := range got {
			if strings.ContainsAny(e.id+e.name, "\r\n") || len(e.data) > 1000 {
				t.Errorf("%q", e)
			}
		}
	})
}

func follow(c *Client, cursor string) *Stream[text] {
	return NewStream[text](c, events, nil, cursor)
}

func TestStreamUsesHeaderOrParameter(t *testing.T) {
	t.Parallel()
	for _, cursor := range []string{"", "cursor"} {
		var calls atomic.Int32
		c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			n := calls.Add(1)
			fmt.Fprintf(w, "id: %d\ndata: %q\n\n", n, r.Header.Get("Last-Event-ID")+"/"+r.URL.RawQuery)
		})
		s := follow(c, cursor)
		defer s.Close()
		want := []string{`"/"`, `"1/"`}
		if cursor != "" {
			want[1] = `"/cursor=1"`
		}
		for _, w := range want {
			if e, err := s.Next(t.Context()); err != nil || string(*e.Data) != w {
				t.Errorf("%v %v, want %s", e, err, w)
			}
		}
		if s.LastEventID() != "2" {
			t.Errorf("the position is %q", s.LastEventID())
		}
	}
}

func TestStreamWaitsForBusyServers(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := serve(t, Options{}, func(w http.ResponseWriter, _ *http.Request) {
		switch calls.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: \"bad\"\n\ndata: 1\n\n")
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
	s := follow(c, "")
	defer s.Close()
	start := time.Now()
	var invalid *lexrt.InvalidError
	if _, err := s.Next(t.Context()); !errors.As(err, &invalid) {
		t.Errorf("%v", err)
	}
	if took := time.Since(start); took < time.Second {
		t.Errorf("Retry-After was not kept: %v", took)
	}
	if e, err := s.Next(t.Context()); err != nil || *e.Data != "1" {
		t.Errorf("after an invalid event: %v %v", e, err)
	}
	var named *lexrt.Error
	if _, err := s.Next(t.Context()); !errors.As(err, &named) || named.Status != http.StatusForbidden {
		t.Errorf("%v", err)
	}
}

// What trying again cannot mend ends a stream at once: a method that is missing, an event that is
// larger than it may be, a token that is refused again after it was renewed.
func TestStreamGivesUp(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opt    Options
		calls  int32
		answer http.HandlerFunc
	}{
		"missing method": {Options{}, 1, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotImplemented) }},
		"too large": {Options{MaxEvent: 100}, 1, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprintf(w, "data: %q\n\n", strings.Repeat("x", 200))
		}},
		"refused token": {
			Options{Token: func(context.Context, string) (string, error) { return "token", nil }},
			2,
			func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			client := serve(t, c.opt, func(w http.ResponseWriter, r *http.Request) {
				if calls.Add(1) > c.calls {
					w.WriteHeader(http.StatusForbidden) // or the stream would go on for ever
					return
				}
				c.answer(w, r)
			})
			s := follow(client, "")
			defer s.Close()
			if _, err := s.Next(t.Context()); err == nil {
				t.Error("no error")
			}
			if n := calls.Load(); n != c.calls {
				t.Errorf("%d calls, want %d", n, c.calls)
			}
		})
	}
}

func silent(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestStreamEnds(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{}, silent)
	s := follow(c, "")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	done := make(chan error)
	go func() {
		_, err := s.Next(context.WithoutCancel(ctx))
		done <- err
	}()
	time.AfterFunc(50*time.Millisecond, s.Close)
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestStreamLeavesDeadConnections(t *testing.T) {
	t.Parallel()
	var calls atomic.Int32
	c := serve(t, Options{IdleTimeout: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			silent(w, r)
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

func TestRawBodies(t *testing.T) {
	t.Parallel()
	c := serve(t, Options{}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		_, _ = io.Copy(w, r.Body)
	})
	got, err := c.CallRaw(t.Context(), put, nil, &lexrt.Body{Reader: strings.NewReader("\x00\x01"), ContentType: "image/png"})
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if data, err := io.ReadAll(got); err != nil || string(data) != "\x00\x01" || got.ContentType != "image/png" {
		t.Errorf("%q %s %v", data, got.ContentType, err)
	}
}
