package xrpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/ratelimit"
	"mls-server/internal/redact"
	"mls-server/internal/shared"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

var (
	errDeclared = &lexrt.Error{Name: "Declared", Status: http.StatusConflict}
	errTooMany  = &lexrt.Error{Name: "TooMany", Status: http.StatusConflict}
	methodGet   = &lexrt.Method{
		NSID: "test.example.getThing", Kind: lexrt.Query, Output: "application/json", RateClass: "default",
		Errors: []*lexrt.Error{errDeclared},
	}
	methodTake = &lexrt.Method{
		NSID: "test.example.takeThing", Kind: lexrt.Query, Output: "application/json", RateClass: "default", Changes: true,
	}
	methodPut = &lexrt.Method{
		NSID: "test.example.putThing", Kind: lexrt.Procedure, Input: "application/json", Output: "application/json",
		MaxBody: 1 << 20, RateClass: "default", Errors: []*lexrt.Error{errDeclared, errTooMany},
		Violations: []lexrt.Violation{{Pointer: "/list/-/id", Rule: "maxLength", Error: errTooMany}},
	}
	methodStream = &lexrt.Method{
		NSID: "test.example.stream", Kind: lexrt.Query, Output: "text/event-stream", RateClass: "default",
	}
)

func generalNames() (names []string) {
	for _, e := range lexrt.GeneralErrors() {
		names = append(names, e.Name)
	}
	return names
}

type text string

func (t text) AppendJSON(dst []byte) []byte { return append(append(append(dst, '"'), t...), '"') }

// fixture is a server with three methods whose behaviour a test sets.
type fixture struct {
	*httptest.Server
	mu         sync.Mutex
	events     []xrpc.Event
	undeclared []string
	ipTokens   int
	tokens     int // that were looked at
	deadlines  int // checks of tokens that had one
	spent      int // tokens used up
	spendErr   error
	refused    int          // requests counted as refused without work
	account    bool         // the account's limit is used up
	admit      func() error // nil admits everybody
	admitted   int          // accounts that were looked at
	endpoint   lexrt.Endpoint
	stream     lexrt.StreamEndpoint
	logs       bytes.Buffer
}

func (f *fixture) ObserveRequest(e xrpc.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, e)
}

func (f *fixture) ObserveUndeclared(_ *lexrt.Method, name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.undeclared = append(f.undeclared, name)
}

// authenticated is how many tokens were looked at.
func (f *fixture) authenticated() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tokens
}

func (f *fixture) Authenticate(ctx context.Context, _ *lexrt.Method, header, _ string) (xrpc.Credential, error) {
	f.mu.Lock()
	f.tokens++
	f.mu.Unlock()
	if _, ok := ctx.Deadline(); ok {
		f.mu.Lock()
		f.deadlines++
		f.mu.Unlock()
	}
	if header != "Bearer good" {
		return xrpc.Credential{}, f.refusal(header)
	}
	return xrpc.Credential{Caller: lexrt.Caller{DID: "did:plc:testtesttesttesttesttest"}}, nil
}

// refusal is costly for a token that was looked into.
func (f *fixture) refusal(header string) error {
	err := &lexrt.Error{Name: "AuthMissing", Status: http.StatusUnauthorized, Message: "Authentication Required"}
	if header == "Bearer forged" {
		return xrpc.Costly(err)
	}
	return err
}

func (f *fixture) Spend(context.Context, xrpc.Credential) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spent++
	return f.spendErr
}

func (f *fixture) look(context.Context, xrpc.Credential) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.admitted++
	if f.admit == nil {
		return nil
	}
	return f.admit()
}

func (f *fixture) Take(_ context.Context, class, _ string, _ int) ratelimit.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	lim := ratelimit.Result{Allowed: true, Limit: 200, Remaining: 199, Window: time.Minute, Reset: time.Unix(1_800_000_000, 0)}
	switch class {
	case ratelimit.ClassIP:
		f.ipTokens--
		lim.Allowed, lim.RetryAfter = f.ipTokens >= 0, 1500*time.Millisecond
	case ratelimit.ClassRefused:
		f.refused++
		lim.Allowed, lim.RetryAfter = f.refused <= 1000, 1500*time.Millisecond
	default:
		lim.Allowed = !f.account
	}
	return lim
}

func (f *fixture) Give(context.Context, string, string, int) { panic("no method has cases") }

func (f *fixture) Peek(string, string) ratelimit.Result {
	f.mu.Lock()
	defer f.mu.Unlock()
	return ratelimit.Result{Allowed: f.ipTokens > 0, Limit: 30, RetryAfter: 1500 * time.Millisecond}
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{ipTokens: 1000, endpoint: func(context.Context, *lexrt.Request) (lexrt.Response, error) { return text("ok"), nil }}
	f.Server = httptest.NewServer(f.handler(t, clock.System, 0))
	t.Cleanup(f.Close)
	return f
}

// handler mounts the methods on a server of their own.
func (f *fixture) handler(tb testing.TB, c clock.Clock, budget int64) http.Handler {
	tb.Helper()
	schema := redact.BaseSchema().With("method", methodGet.NSID, methodTake.NSID, methodPut.NSID, methodStream.NSID).With("error_name", generalNames()...)
	s := xrpc.New(xrpc.Options{
		Authenticator: f, Limiter: f, Observer: f, Clock: c, BodyBudget: budget, Admit: f.look,
		MapError: func(err error) *lexrt.Error {
			if errors.Is(err, io.ErrUnexpectedEOF) {
				return &lexrt.Error{Name: "Declared", Status: http.StatusConflict, Message: "mapped"}
			}
			return nil
		},
		Logger:   slog.New(redact.NewHandler(slog.NewJSONHandler(&f.logs, nil), schema, newHasher(tb))),
		ClientIP: func(*http.Request) string { return "192.0.2.1" },
	})
	e := func(ctx context.Context, req *lexrt.Request) (lexrt.Response, error) { return f.endpoint(ctx, req) }
	s.Handle(methodGet, e)
	s.Handle(methodTake, e)
	s.Handle(methodPut, e)
	s.HandlePage("/page", func(context.Context) (int, any) { return http.StatusOK, map[string]string{"status": "ok"} })
	s.HandleStream(methodStream, func(ctx context.Context, req *lexrt.Request, out lexrt.EventStream) error {
		return f.stream(ctx, req, out)
	})
	return s
}

func newHasher(tb testing.TB) *shared.Hasher {
	tb.Helper()
	h, err := shared.NewHasher(make([]byte, shared.MinSecret))
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (f *fixture) do(t *testing.T, verb, path string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), verb, f.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := f.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(data)}
}

func (a answer) want(t *testing.T, status int, part string) {
	t.Helper()
	if a.status != status || !strings.Contains(a.body, part) {
		t.Errorf("got %d %s, want %d with %q", a.status, a.body, status, part)
	}
}

const (
	getPath  = "/xrpc/test.example.getThing"
	putPath  = "/xrpc/test.example.putThing"
	takePath = "/xrpc/test.example.takeThing"
	asJSON   = "application/json"
)
