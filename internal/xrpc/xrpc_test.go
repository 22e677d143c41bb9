package xrpc_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
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
	refused    int  // requests counted as refused without work
	account    bool // the account's limit is used up
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
		Authenticator: f, Limiter: f, Observer: f, Clock: c, BodyBudget: budget,
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

func TestVerbsAndPaths(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		verb, path, body string
		headers          []string
		status           int
		part             string
	}{
		{"GET", getPath, "", nil, 200, `"ok"`},
		{"GET", getPath + "/", "", nil, 200, `"ok"`},
		{"HEAD", getPath, "", nil, 200, ""},
		{"HEAD", takePath, "", nil, 400, ""},
		{"GET", takePath, "", nil, 200, `"ok"`},
		{"HEAD", putPath, "", nil, 400, ""},
		{"POST", getPath, "", nil, 400, "Incorrect HTTP method"},
		{"PUT", putPath, "{}", nil, 400, "expected POST"},
		{"GET", "/xrpc/test.example.unknown", "", nil, 501, "MethodNotImplemented"},
		{"POST", "/xrpc/test.example.unknown", "", nil, 501, "MethodNotImplemented"},
		{"GET", "/xrpc/not_an_nsid", "", nil, 400, "invalid xrpc path"},
		{"GET", "/xrpc/", "", nil, 400, "invalid xrpc path"},
		{"GET", "/nope", "", nil, 404, "NotFound"},
		{"GET", getPath + "?a=%zz", "", nil, 400, "query string"},
		{"GET", getPath, "{}", nil, 400, "none was expected"},
		{"POST", putPath, "{}", nil, 400, "Content-Type) required"},
		{"POST", putPath, "{}", []string{"Content-Type", "text/plain"}, 400, "Wrong request encoding"},
		{"POST", putPath, "{}", []string{"Content-Type", "application/json; charset=utf-8"}, 200, `"ok"`},
		{"POST", putPath, "{}", []string{"Content-Type", asJSON, "Content-Encoding", "zzz"}, 415, "UnsupportedMediaTypeError"},
		{"POST", putPath, "not gzip", []string{"Content-Type", asJSON, "Content-Encoding", "gzip"}, 400, "could not be read"},
	} {
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		a := f.do(t, c.verb, c.path, body, c.headers...)
		a.want(t, c.status, c.part)
		if c.verb != "HEAD" && !strings.HasPrefix(a.header.Get("Content-Type"), asJSON) {
			t.Errorf("%s %s: content type %q", c.verb, c.path, a.header.Get("Content-Type"))
		}
	}
}

// A client that sends all of its request before it reads gets the answer, and
// not a broken connection, whatever stands against the request; one that keeps
// failing does not.
func TestRefusedBodiesAreRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	send := func(token string, size int) (status int, err error) {
		t.Helper()
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", f.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
			putPath, token, size)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write(make([]byte, size)); err != nil {
			return 0, err
		}
		r := bufio.NewReader(conn)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return 0, err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, errors.Join(err, resp.Body.Close())
	}
	const large = 24 << 20 // more than the kernel would take for a server that does not read
	for token, want := range map[string]int{"bad": http.StatusUnauthorized, "good": http.StatusRequestEntityTooLarge} {
		if got, err := send(token, large); got != want || err != nil {
			t.Errorf("%s token: %d, %v; want %d", token, got, err, want)
		}
	}
	f.mu.Lock()
	f.ipTokens = 0
	f.mu.Unlock()
	if got, err := send("forged", large); err == nil {
		t.Errorf("all of a request was read of an address that keeps failing: %d", got)
	}
}

func TestBodyCaps(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var got int
	f.endpoint = func(_ context.Context, req *lexrt.Request) (lexrt.Response, error) {
		got = len(req.Body)
		return nil, nil
	}
	zip := func(n int) io.Reader {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(make([]byte, n))
		_ = z.Close()
		return &b
	}
	for _, c := range []struct {
		name   string
		body   io.Reader
		coding string
		status int
		size   int
	}{
		{"largest", bytes.NewReader(make([]byte, 1<<20)), "", 200, 1 << 20},
		{"one more", bytes.NewReader(make([]byte, 1<<20+1)), "", 413, 0},
		{"chunked", io.MultiReader(bytes.NewReader(make([]byte, 1<<20))), "", 200, 1 << 20},
		{"chunked, one more", io.MultiReader(bytes.NewReader(make([]byte, 1<<20+1))), "", 413, 0},
		{"gzip", zip(100), "gzip", 200, 100},
		{"compression bomb", zip(64 << 20), "gzip", 413, 0},
	} {
		got = 0
		h := []string{"Content-Type", asJSON}
		if c.coding != "" {
			h = append(h, "Content-Encoding", c.coding)
		}
		a := f.do(t, "POST", putPath, c.body, h...)
		if a.status != c.status || got != c.size {
			t.Errorf("%s: status %d, %d bytes; want %d, %d", c.name, a.status, got, c.status, c.size)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, c := range []struct {
		name   string
		err    error
		status int
		part   string
		absent string
	}{
		{"mapped", io.ErrUnexpectedEOF, 409, `{"error":"Declared","message":"mapped"}`, ""},
		{"unmapped", errors.New("secret did:plc:x"), 500, "InternalServerError", "secret"},
		{"undeclared", &lexrt.Error{Name: "Odd", Status: 400}, 500, "InternalServerError", "Odd"},
		{"invalid", &lexrt.InvalidError{What: "body", Issues: []lexrt.Issue{{Pointer: "/id", Rule: "maxLength", Problem: "must be short"}}}, 400, "/id must be short", ""},
		{
			"violation with a name",
			&lexrt.InvalidError{What: "body", Issues: []lexrt.Issue{{Pointer: "/list/3/id", Rule: "maxLength", Problem: "must be short"}}},
			409, `"TooMany"`, "",
		},
		{"retry", &lexrt.Error{Name: "RateLimitExceeded", Status: 429, RetryAfter: 1200 * time.Millisecond}, 429, "RateLimitExceeded", ""},
	} {
		f.endpoint = func(context.Context, *lexrt.Request) (lexrt.Response, error) { return nil, c.err }
		a := f.do(t, "POST", putPath, strings.NewReader("{}"), "Content-Type", asJSON)
		a.want(t, c.status, c.part)
		if c.absent != "" && strings.Contains(a.body, c.absent) {
			t.Errorf("%s: %s leaks %q", c.name, a.body, c.absent)
		}
		if c.name == "retry" && a.header.Get("Retry-After") != "2" {
			t.Errorf("Retry-After %q, want 2", a.header.Get("Retry-After"))
		}
	}
	f.Close() // waits for the requests, and so for their log events
	if len(f.undeclared) != 1 || f.undeclared[0] != "Odd" {
		t.Errorf("undeclared: %v", f.undeclared)
	}
	if strings.Contains(f.logs.String(), "secret") {
		t.Error("an error's text reached the log")
	}
}

// An endpoint that waits for something that never comes is cut off, and the
// client may come back.
func TestWorkHasAnEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.endpoint = func(ctx context.Context, _ *lexrt.Request) (lexrt.Response, error) {
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 30*time.Second {
			return nil, errors.New("the context has no end")
		}
		ctx, cancel := context.WithDeadline(ctx, time.Unix(0, 0))
		defer cancel()
		return nil, fmt.Errorf("read: %w", ctx.Err())
	}
	a := f.do(t, "GET", getPath, nil)
	a.want(t, 503, "NotEnoughResources")
	if a.header.Get("Retry-After") != "2" {
		t.Errorf("Retry-After %q, want 2", a.header.Get("Retry-After"))
	}
	f.Close()
	if f.deadlines != 1 {
		t.Error("the authenticator's context has no end")
	}
}

func TestPanicIsOneFailedRequest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.endpoint = func(context.Context, *lexrt.Request) (lexrt.Response, error) { panic("secret") }
	f.do(t, "GET", getPath, nil).want(t, 500, "InternalServerError")
	f.endpoint = func(context.Context, *lexrt.Request) (lexrt.Response, error) { return text("ok"), nil }
	f.do(t, "GET", getPath, nil).want(t, 200, "ok")
	f.Close()
	if strings.Contains(f.logs.String(), "secret") {
		t.Error("the panic's value reached the log")
	}
}

// Only failures count against an address. Once the bucket of those that cost work
// is empty, nothing more is looked at: no verb, no token, no body.
func TestOnlyFailuresCountAgainstTheAddress(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ipTokens = 2
	for range 50 {
		f.do(t, "GET", getPath, nil).want(t, 200, "ok")
	}
	f.do(t, "GET", getPath, nil, "Authorization", "Bearer forged").want(t, 401, "AuthMissing")
	f.do(t, "GET", getPath, nil).want(t, 200, "ok")
	f.do(t, "GET", getPath, nil, "Authorization", "Bearer forged").want(t, 401, "AuthMissing")
	asked := f.authenticated()
	for _, c := range [][3]string{
		{"GET", getPath, "good"}, {"GET", getPath, "bad"}, {"PUT", getPath, "good"}, {"POST", putPath, "good"},
	} {
		var body io.Reader
		if c[0] == "POST" {
			body = strings.NewReader("{}")
		}
		a := f.do(t, c[0], c[1], body, "Authorization", "Bearer "+c[2])
		a.want(t, 429, "RateLimitExceeded")
		if a.header.Get("Retry-After") != "2" || a.header.Get("Access-Control-Allow-Origin") != "*" {
			t.Errorf("%v: %v", c, a.header)
		}
	}
	if f.authenticated() != asked {
		t.Error("tokens were looked at for an address whose bucket is empty")
	}
}

// What costs next to nothing to refuse has a bucket of its own, so that a user of
// a PDS, which passes on requests from one address, cannot shut out the others.
func TestCheapFailuresShutOutNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.refused = 1000 - 4
	f.do(t, "GET", getPath, nil, "Authorization", "Bearer bad").want(t, 401, "AuthMissing")
	f.do(t, "PUT", getPath, nil).want(t, 400, "InvalidRequest")
	f.do(t, "OPTIONS", getPath, nil).want(t, 200, "")
	f.do(t, "GET", "/nope", nil).want(t, 404, "NotFound")
	for _, c := range [][3]string{{"GET", getPath, "bad"}, {"PUT", getPath, "good"}, {"OPTIONS", getPath, "good"}, {"GET", "/nope", "good"}} {
		f.do(t, c[0], c[1], nil, "Authorization", "Bearer "+c[2]).want(t, 429, "RateLimitExceeded")
	}
	f.do(t, "GET", getPath, nil).want(t, 200, "ok")
	if f.ipTokens != 1000 {
		t.Errorf("%d of 1000 left of what work costs", f.ipTokens)
	}
}

// A call that is refused uses no token up: neither for want of a genuine one, nor
// over the account's limit.
func TestRefusedCallsUseNoTokenUp(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.do(t, "GET", getPath, nil, "Authorization", "Bearer bad").want(t, 401, "AuthMissing")
	f.account = true
	a := f.do(t, "GET", getPath, nil)
	a.want(t, 429, "RateLimitExceeded")
	if f.spent != 0 || a.header.Get("RateLimit-Limit") != "200" {
		t.Errorf("%d tokens used up by refused calls; %v", f.spent, a.header)
	}
	f.account = false
	f.spendErr = &lexrt.Error{Name: "ReplayedToken", Status: http.StatusUnauthorized, Message: "used"}
	f.do(t, "POST", putPath, strings.NewReader("not read"), "Content-Type", "application/json").want(t, 401, "ReplayedToken")
	if f.spent != 1 || f.refused != 1 || f.ipTokens != 1000 {
		t.Errorf("spent %d; a used token counts against its account, not against the address: %d, %d", f.spent, f.refused, f.ipTokens)
	}
}

// Preflights of methods are answered whatever the address' bucket holds, and
// allow the headers that the page asks for; other OPTIONS requests count.
func TestPreflights(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ipTokens, f.refused = 0, 1000
	ask := func(path, headers string) answer {
		t.Helper()
		h := []string{"Origin", "https://app.example", "Access-Control-Request-Method", "POST"}
		if headers != "" {
			h = append(h, "Access-Control-Request-Headers", headers)
		}
		return f.do(t, "OPTIONS", path, nil, h...)
	}
	for _, headers := range []string{
		"", "authorization,content-type", "authorization, sentry-trace, baggage", "traceparent,cache-control,atproto-proxy",
		strings.Repeat("x", 4<<10),
	} {
		a := ask(putPath, headers)
		a.want(t, 200, "")
		if got := a.header.Get("Access-Control-Allow-Headers"); headers != "" && got != headers || got == "" {
			t.Errorf("asked for %.100q, allowed %.100q", headers, got)
		}
		for name, want := range map[string]string{
			"Access-Control-Allow-Methods": "POST", "Access-Control-Allow-Origin": "*", "Vary": "Access-Control-Request-Headers",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
	}
	ask("//xrpc/"+methodPut.NSID, "authorization").want(t, 200, "")
	ask("/page", "").want(t, 200, "")
	for path, headers := range map[string]string{
		putPath: strings.Repeat("x", 4<<10+1), putPath + "/": "authorization, <script>", "/xrpc/test.example.unknown": "authorization",
	} {
		a := ask(path, headers)
		a.want(t, 429, "RateLimitExceeded")
		if got := a.header.Get("Access-Control-Allow-Headers"); strings.Contains(got, "script") || len(got) > 200 {
			t.Errorf("allowed %.100q", got)
		}
	}
}

// A doubled slash is answered as the path that was meant, and every answer, on
// every path, can be read by a page of another origin and named by its request.
func TestPathsThatAreNotClean(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for path, want := range map[string]int{
		"/" + getPath: 200, "//" + getPath: 200, "/xrpc//" + methodGet.NSID: 200, "/xrpc/./" + methodGet.NSID: 400, "/../xrpc/x": 404,
		"//page": 200, "/page/": 404, "//": 404, "/": 404, "/xrpc": 400, "/xrpc/%2e%2e/page": 400, "/%2fxrpc/" + methodGet.NSID: 200,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.URL.Opaque = "//" + r.URL.Host + path // as it stands
		r.Header.Set("Authorization", "Bearer good")
		resp, err := f.Client().Transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || resp.StatusCode != want {
			t.Errorf("%s: %d %s, %v; want %d", path, resp.StatusCode, body, err, want)
		}
		for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "X-Request-Id", "Content-Type"} {
			if resp.Header.Get(name) == "" {
				t.Errorf("%s: no %s", path, name)
			}
		}
	}
	f.do(t, "POST", "/page", strings.NewReader("{}")).want(t, 404, "NotFound")
	f.do(t, "HEAD", "/page", nil).want(t, 200, "")
}

func TestLimitHeadersStandOnEveryAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	a := f.do(t, "GET", getPath, nil)
	for name, want := range map[string]string{
		"RateLimit-Limit": "200", "RateLimit-Remaining": "199", "RateLimit-Reset": "1800000000", "RateLimit-Policy": "200;w=60",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestStreamFrames(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.stream = func(_ context.Context, _ *lexrt.Request, out lexrt.EventStream) error {
		if err := out.Comment("hello\nthere"); err != nil {
			return err
		}
		if err := out.Event("bad\nid", "x", text("y")); err == nil {
			return errors.New("an id with a line break was sent")
		}
		return out.Event("7", "messageEvent", text(out.LastEventID()))
	}
	a := f.do(t, "GET", "/xrpc/test.example.stream", nil, "Last-Event-ID", "6")
	want := ": hello there\n\nid: 7\nevent: messageEvent\ndata: \"6\"\n\n"
	if a.status != 200 || a.body != want || a.header.Get("Content-Type") != "text/event-stream" ||
		a.header.Get("Cache-Control") != "no-store, no-transform" {
		t.Errorf("got %d %q %q, want %q", a.status, a.header.Get("Content-Type"), a.body, want)
	}
}

func TestEventsNameTheMethodAndNothingElse(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.do(t, "GET", getPath+"?who=did:plc:secret", nil)
	f.do(t, "GET", "/xrpc/test.example.did-plc-secret", nil)
	f.Close()
	if f.events[0].Method != methodGet.NSID || f.events[1].Method != "" {
		t.Errorf("events: %+v", f.events)
	}
	if strings.Contains(f.logs.String(), "secret") {
		t.Error("a value of the request reached the log")
	}
}

// A request's line in the log says neither who called nor, by size or time,
// which stored message came of it (I7, I8).
func TestRequestLinesLinkNobody(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	sizes := map[int]float64{1: 512, 512: 512, 513: 1024, 8192: 8192, 11_000: 16_384}
	want := map[float64]int{}
	for size, coarse := range sizes {
		f.do(t, "POST", putPath, strings.NewReader(strings.Repeat(" ", size)), "Content-Type", asJSON).want(t, 200, "ok")
		want[coarse]++
	}
	f.Close() // waits for the requests, and so for their log events
	got := map[float64]int{}
	for line := range strings.Lines(f.logs.String()) {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Fatal(err)
		}
		keys := slices.Sorted(maps.Keys(fields))
		if allowed := []string{"bytes_in", "bytes_out", "duration_us", "level", "method", "msg", "request_id", "status", "time"}; !slices.Equal(keys, allowed) {
			t.Errorf("a line holds %v, want %v", keys, allowed)
		}
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(fields["time"]))
		if err != nil || !at.Equal(clock.Bucket(at)) {
			t.Errorf("a line's time is %v, %v", fields["time"], err)
		}
		size, _ := fields["bytes_in"].(float64)
		got[size]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("sizes %v, want %v", got, want)
	}
}
