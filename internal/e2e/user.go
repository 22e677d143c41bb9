package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"mls-server/internal/authtest"
	"mls-server/lexrt"
)

// User is an account that calls the server.
type User struct {
	*authtest.Identity
	Server *Server
	// Through, when not nil, changes each request before it is sent: to a PDS that passes it on.
	Through func(r *http.Request)
}

// Answer is what the server said.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
	// Error and Message are those of the body, "" on success.
	Error, Message string
}

// Decodable is an output of a method.
type Decodable interface{ UnmarshalJSON(data []byte) error }

// Post calls a procedure and decodes a successful answer into out, which may be nil.
func (u *User) Post(tb testing.TB, m *lexrt.Method, in lexrt.Response, out Decodable) Answer {
	tb.Helper()
	return u.Call(tb, m, Request{Body: in.AppendJSON(nil)}, out)
}

// Get calls a query; args are names and values in turn.
func (u *User) Get(tb testing.TB, m *lexrt.Method, out Decodable, args ...string) Answer {
	tb.Helper()
	query := url.Values{}
	for i := 0; i+1 < len(args); i += 2 {
		query.Add(args[i], args[i+1])
	}
	return u.Call(tb, m, Request{Query: query}, out)
}

// Request is a call in its raw form. The zero fields mean what a good client would send.
type Request struct {
	Verb  string
	Query url.Values
	// RawQuery, when not "", replaces Query.
	RawQuery string
	Body     []byte
	// Header replaces headers by name; nil values remove them.
	Header        http.Header
	Authorization string // "-" for none
}

// Call sends one request with a token of its own.
func (u *User) Call(tb testing.TB, m *lexrt.Method, r Request, out Decodable) Answer {
	tb.Helper()
	a, err := u.Try(tb.Context(), m, r)
	if err != nil {
		tb.Fatalf("%s: %v", m.NSID, err)
	}
	tapeOf(tb).add(m.NSID, r.complete(m), a)
	if a.Status == http.StatusInternalServerError {
		// What the server knows of its fault helps whoever did not expect it.
		_, id, _ := strings.Cut(a.Message, "request ")
		tb.Logf("%s: %s\n%s", m.NSID, a.Message, u.Server.Logs.About(id))
	}
	if a.Status == http.StatusOK && u.Server.Heard != nil {
		u.Server.Heard(m, a.Body)
	}
	if a.Status == http.StatusOK && out != nil {
		if err := out.UnmarshalJSON(a.Body); err != nil {
			tb.Fatalf("%s: the answer does not fit its lexicon: %v\n%s", m.NSID, err, a.Body)
		}
	}
	return a
}

// Try is Call for servers that may be down.
func (u *User) Try(ctx context.Context, m *lexrt.Method, r Request) (Answer, error) {
	resp, err := u.Open(ctx, m, r)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	return read(m, resp)
}

// read reads a whole answer and records its error.
func read(m *lexrt.Method, resp *http.Response) (Answer, error) {
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return (&Socket{m, resp.Body, bufio.NewReader(resp.Body)}).answer(resp.Header)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return Answer{}, err
	}
	a := Answer{Status: resp.StatusCode, Header: resp.Header, Body: body}
	if a.Status != http.StatusOK {
		var e struct {
			Error   string `json:"error"`
			Message string `json:"message"`
		}
		if json.Unmarshal(body, &e) == nil {
			a.Error, a.Message = e.Error, e.Message
		}
		record(m.NSID, a.Error)
	}
	return a, nil
}

// Peek is Call for streams: of one that begins only the headers are read.
func (u *User) Peek(tb testing.TB, m *lexrt.Method, r Request) Answer {
	tb.Helper()
	ctx, cancel := context.WithCancel(tb.Context())
	defer cancel()
	resp, err := u.Open(ctx, m, r)
	if err != nil {
		tb.Fatalf("%s: %v", m.NSID, err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode == http.StatusOK {
		return Answer{Status: resp.StatusCode, Header: resp.Header}
	}
	a, err := read(m, resp)
	if err != nil {
		tb.Fatalf("%s: %v", m.NSID, err)
	}
	return a
}

// Open sends one request and leaves the answer's body to be read and closed, for streams.
func (u *User) Open(ctx context.Context, m *lexrt.Method, r Request) (*http.Response, error) {
	r = r.complete(m)
	req, err := http.NewRequestWithContext(ctx, r.Verb, u.Server.URL+"/xrpc/"+m.NSID, bytes.NewReader(r.Body))
	if err != nil {
		return nil, err
	}
	req.URL.RawQuery = r.RawQuery
	if m.Input != "" {
		req.Header.Set("Content-Type", m.Input)
	}
	switch r.Authorization {
	case "":
		if u.Through == nil && !m.Anonymous {
			req.Header.Set("Authorization", u.Bearer(u.Server.DID, m.NSID))
		}
	case "-":
	default:
		req.Header.Set("Authorization", r.Authorization)
	}
	if m.Kind == lexrt.Subscription {
		upgrade(req.Header)
	}
	maps.Copy(req.Header, r.Header)
	if u.Through != nil {
		u.Through(req)
	}
	return u.Server.client.Do(req)
}

// complete fills in the verb and the query.
func (r Request) complete(m *lexrt.Method) Request {
	if r.Verb == "" {
		r.Verb = http.MethodGet
		if m.Kind == lexrt.Procedure {
			r.Verb = http.MethodPost
		}
	}
	if r.RawQuery == "" {
		r.RawQuery = r.Query.Encode()
	}
	return r
}

// OK fails the test unless the call succeeded.
func (a Answer) OK(tb testing.TB) Answer {
	tb.Helper()
	if a.Status != http.StatusOK {
		tb.Fatalf("got %d %s: %s", a.Status, a.Error, a.Message)
	}
	return a
}

// Want fails the test unless the answer is the error.
func (a Answer) Want(tb testing.TB, status int, name string) Answer {
	tb.Helper()
	if a.Status != status || a.Error != name {
		tb.Errorf("got %d %s %q, want %d %s", a.Status, a.Error, a.Message, status, name)
	}
	return a
}
