package lexhttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
	"mls-server/lexrt/lexhttp"
)

// note is the input and output of the methods below.
type note struct{ Text string }

func (n *note) Lex(f *lexrt.Fields) {
	lexrt.String(f, "text", &n.Text, lexrt.Required, &lexrt.StringRule{MaxLen: 10})
}

func (n *note) AppendJSON(b []byte) []byte { return lexrt.Append(b, n) }

var errTooLong = &lexrt.Error{Name: "NoteTooLong", Status: http.StatusUnprocessableEntity}

var errSecret = errors.New("the password is swordfish")

// server has a method of each kind, and collects what its clients do not hear of.
func server(t *testing.T, authenticate func(*http.Request, *lexrt.Method) (lexrt.Caller, error)) (url string, faults func() []error) {
	t.Helper()
	var mu sync.Mutex
	var all []error
	mux := lexhttp.New(lexhttp.Options{Authenticate: authenticate, Fault: func(_ *lexrt.Method, err error) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, err)
	}})
	put := &lexrt.Method{
		NSID: "com.example.putNote", Kind: lexrt.Procedure, Input: "application/json", Output: "application/json", MaxBody: 100,
		Errors: []*lexrt.Error{errTooLong}, Violations: []lexrt.Violation{{Pointer: "/text", Rule: "maxLength", Error: errTooLong}},
	}
	mux.Handle(put, lexrt.InputEndpoint(func(_ context.Context, caller lexrt.Caller, in *note) (*note, error) {
		switch in.Text {
		case "fail":
			return nil, errSecret
		case "undeclared":
			return nil, &lexrt.Error{Name: "Surprise", Status: http.StatusTeapot}
		case "busy":
			busy := *lexrt.ErrNotEnoughResources
			busy.RetryAfter = 1
			return nil, &busy
		}
		return &note{in.Text + caller.DID.String()}, nil
	}))
	mux.Handle(&lexrt.Method{NSID: "com.example.touch", Kind: lexrt.Procedure, Open: true}, func(context.Context, *lexrt.Request) (lexrt.Response, error) { return nil, nil })
	mux.Handle(&lexrt.Method{NSID: "com.example.whisper", Kind: lexrt.Procedure, Open: true, Anonymous: true, Errors: []*lexrt.Error{lexrt.ErrTokenNotAllowed}}, func(context.Context, *lexrt.Request) (lexrt.Response, error) { return nil, nil })
	mux.Handle(&lexrt.Method{NSID: "com.example.getNote", Kind: lexrt.Query, Output: "application/json", Open: true}, func(_ context.Context, req *lexrt.Request) (lexrt.Response, error) {
		return &note{req.Query.Get("text")}, nil
	})
	mux.HandleStream(&lexrt.Method{NSID: "com.example.watch", Kind: lexrt.Query, Output: "text/event-stream", Open: true}, func(_ context.Context, req *lexrt.Request, out lexrt.EventStream) error {
		switch req.Query.Get("do") {
		case "refuse":
			return lexrt.ErrRateLimitExceeded.WithMessage("later")
		case "nothing":
			return nil
		case "forever":
			for {
				if err := out.Comment("still here"); err != nil {
					return err
				}
			}
		case "break":
			return out.Event("1\n2", "note", nil)
		}
		if err := errors.Join(out.Comment("two\nlines"), out.Event("7", "note", &note{"a" + out.LastEventID()})); err != nil {
			return err
		}
		if req.Query.Get("do") == "abort" {
			return errSecret
		}
		return nil
	})
	mux.HandleSubscription(&lexrt.Method{NSID: "com.example.subscribeNotes", Kind: lexrt.Subscription, Open: true, Errors: []*lexrt.Error{errTooLong}}, func(req *lexrt.Request) (func(context.Context, lexrt.Subscribed) error, error) {
		if req.Query.Get("do") == "refuse" {
			return nil, lexrt.ErrRateLimitExceeded.WithMessage("later")
		}
		return func(ctx context.Context, out lexrt.Subscribed) error {
			switch req.Query.Get("do") {
			case "secret":
				return errSecret
			case "named":
				return errTooLong
			case "wait":
				<-ctx.Done()
				return ctx.Err()
			}
			return out.Send("com.example.subscribeNotes#note", &note{"a"})
		}, nil
	})
	mux.HandleRaw(&lexrt.Method{NSID: "com.example.copy", Kind: lexrt.Procedure, Input: "text/*", Output: "*/*", MaxBody: 20, Open: true}, func(_ context.Context, req *lexrt.Request, out io.Writer) error {
		if to, ok := out.(lexrt.ContentTypeSetter); ok {
			to.SetContentType(req.ContentType)
		}
		_, err := io.Copy(out, req.Stream)
		return err
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s.URL, func() []error {
		mu.Lock()
		defer mu.Unlock()
		return all
	}
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func call(t *testing.T, verb, url, contentType, body string, header ...string) (reply, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), verb, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return reply{resp.StatusCode, resp.Header, string(b)}, err
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	url, faults := server(t, func(r *http.Request, m *lexrt.Method) (lexrt.Caller, error) {
		if r.Header.Get("Authorization") != "Bearer "+m.NSID {
			return lexrt.Caller{}, lexrt.ErrBadJWT.WithMessage("no")
		}
		return lexrt.Caller{DID: "did:web:a"}, nil
	})
	const putNote, json, token = "/xrpc/com.example.putNote", "application/json", "Bearer com.example.putNote"
	for _, c := range []struct {
		name, verb, path, contentType, body, token string
		status                                     int
		want                                       string
	}{
		{"answer", "POST", putNote, json, `{"text":"a "}`, token, 200, `{"text":"a did:web:a"}`},
		{"parameters of the type", "POST", putNote, json + "; charset=utf-8", `{"text":"a "}`, token, 200, `{"text":"a did:web:a"}`},
		{"no token", "POST", putNote, json, `{"text":"a"}`, "", 401, `{"error":"BadJwt","message":"no"}`},
		{"verb", "GET", putNote, "", "", token, 400, "expected POST"},
		{"no media type", "POST", putNote, "", `{"text":"a"}`, token, 400, "Content-Type"},
		{"another media type", "POST", putNote, "text/plain", `{"text":"a"}`, token, 400, "Content-Type"},
		{"invalid", "POST", putNote, json, `{"text":1}`, token, 400, `{"error":"InvalidRequest","message":"invalid body: /text must be a string"}`},
		{"violation with a name", "POST", putNote, json, `{"text":"12345678901"}`, token, 422, `"error":"NoteTooLong"`},
		{"too large", "POST", putNote, json, `{"text":"` + strings.Repeat("a", 100) + `"}`, token, 413, "100 bytes"},
		{"fault", "POST", putNote, json, `{"text":"fail"}`, token, 500, `{"error":"InternalServerError","message":"Internal Server Error"}`},
		{"undeclared", "POST", putNote, json, `{"text":"undeclared"}`, token, 500, "InternalServerError"},
		{"later", "POST", putNote, json, `{"text":"busy"}`, token, 503, "NotEnoughResources"},
		{"query", "GET", "/xrpc/com.example.getNote?text=b", "", "", "", 200, `{"text":"b"}`},
		{"head", "HEAD", "/xrpc/com.example.getNote?text=b", "", "", "", 200, ""},
		{"bad query", "GET", "/xrpc/com.example.getNote?text=%zz", "", "", "", 400, "query string"},
		{"body of a query", "GET", "/xrpc/com.example.getNote", json, "{}", "", 400, "none was expected"},
		{"anonymous", "POST", "/xrpc/com.example.whisper", "", "", "", 200, ""},
		{"anonymous with a token", "POST", "/xrpc/com.example.whisper", "", "", token, 400, `{"error":"TokenNotAllowed"`},
		{"empty answer", "POST", "/xrpc/com.example.touch", "", "", "", 200, ""},
		{"unknown method", "GET", "/xrpc/com.example.none", "", "", "", 501, "MethodNotImplemented"},
		{"elsewhere", "GET", "/", "", "", "", 404, "NotFound"},
		{"bytes", "POST", "/xrpc/com.example.copy", "text/markdown", "# a", "", 200, "# a"},
		{"stream", "GET", "/xrpc/com.example.watch", "", "", "", 200, ": two lines\n\nid: 7\nevent: note\ndata: {\"text\":\"a\"}\n\n"},
		{"head of a stream", "HEAD", "/xrpc/com.example.watch?do=forever", "", "", "", 200, ""},
		{"subscription without a WebSocket", "GET", "/xrpc/com.example.subscribeNotes", "", "", "", 426, "WebSocket"},
		{"head of a subscription", "HEAD", "/xrpc/com.example.subscribeNotes", "", "", "", 400, ""},
		{"stream that is refused", "GET", "/xrpc/com.example.watch?do=refuse", "", "", "", 429, "RateLimitExceeded"},
		{"stream without events", "GET", "/xrpc/com.example.watch?do=nothing", "", "", "", 200, ""},
		{"line break in an id", "GET", "/xrpc/com.example.watch?do=break", "", "", "", 500, "InternalServerError"},
	} {
		got, err := call(t, c.verb, url+c.path, c.contentType, c.body, "Authorization", c.token)
		if err != nil || got.status != c.status || !strings.Contains(got.body, c.want) || c.want == "" && got.body != "" {
			t.Errorf("%s: %v, %v", c.name, err, got)
			continue
		}
		if (got.status == 503) != (got.header.Get("Retry-After") == "1") || (got.status == 401) != (got.header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %v", c.name, got.header)
		}
	}
	if n := len(faults()); n != 3 {
		t.Errorf("%d faults were told: %v", n, faults())
	}
}

// TestBegunAnswersAreCut: what fails in the midst of an answer does not look complete.
func TestBegunAnswersAreCut(t *testing.T) {
	t.Parallel()
	url, _ := server(t, nil)
	if got, err := call(t, "GET", url+"/xrpc/com.example.watch?do=abort", "", ""); err == nil {
		t.Errorf("the answer looks complete: %v", got)
	}
	if got, err := call(t, "POST", url+"/xrpc/com.example.copy", "text/plain", strings.Repeat("a", 21)); err == nil {
		t.Errorf("the answer looks complete: %v", got)
	}
}

// TestNobodyIsLetInByOversight: without Authenticate methods that are not open refuse everybody.
func TestNobodyIsLetInByOversight(t *testing.T) {
	t.Parallel()
	url, _ := server(t, nil)
	got, err := call(t, "POST", url+"/xrpc/com.example.putNote", "application/json", `{"text":"a"}`)
	if err != nil || got.status != http.StatusUnauthorized || !strings.Contains(got.body, "AuthMissing") {
		t.Error(err, got)
	}
	url, _ = server(t, lexhttp.Anyone)
	if got, err := call(t, "POST", url+"/xrpc/com.example.putNote", "application/json", `{"text":"a"}`); err != nil || got.status != http.StatusOK {
		t.Error(err, got)
	}
}

// TestResume passes the position on that a client asks for.
func TestResume(t *testing.T) {
	t.Parallel()
	url, _ := server(t, nil)
	if got, err := call(t, "GET", url+"/xrpc/com.example.watch", "", "", "Last-Event-ID", "6"); err != nil || !strings.Contains(got.body, `"a6"`) {
		t.Error(err, got)
	}
}

// TestSubscriptions says how each ends, and tells of faults that clients do not hear of.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	url, faults := server(t, nil)
	for do, want := range map[string]string{
		"":       "{\"text\":\"a\"} 1000",
		"secret": `{"error":"InternalServerError","message":"Internal Server Error"} 1011`,
		"named":  `{"error":"NoteTooLong"} 1008`,
	} {
		conn, _, err := websocket.Dial(t.Context(), url+"/xrpc/com.example.subscribeNotes?do="+do, nil) //nolint:bodyclose // the connection has it
		if err != nil {
			t.Fatal(err)
		}
		_, data, err := conn.Read(t.Context())
		if err != nil {
			t.Fatal(do, err)
		}
		frame, bad := lexcbor.ReadFrame("com.example.subscribeNotes", data)
		_, _, err = conn.Read(t.Context())
		if got := fmt.Sprintf("%s %d", frame.Body, websocket.CloseStatus(err)); bad != nil || got != want {
			t.Errorf("%s: %v %s", do, bad, got)
		}
	}
	_, resp, err := websocket.Dial(t.Context(), url+"/xrpc/com.example.subscribeNotes?do=refuse", nil) //nolint:bodyclose // the library has read it
	if err == nil || resp.StatusCode != http.StatusTooManyRequests {
		t.Error(err)
	}
	// A client that leaves is no fault of the server.
	conn, _, err := websocket.Dial(t.Context(), url+"/xrpc/com.example.subscribeNotes?do=wait", nil) //nolint:bodyclose // as above
	if err != nil || conn.Close(websocket.StatusNormalClosure, "") != nil {
		t.Error(err)
	}
	if n := len(faults()); n != 1 {
		t.Errorf("%d faults were told: %v", n, faults())
	}
}
