package xrpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"mls-server/internal/clock"
	"mls-server/lexrt"
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
		{"POST", putPath, "{}", []string{"Content-Type", "application/cbor"}, 400, "Wrong request encoding"},
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

// A page can read that there is nothing at a path: its preflight is answered, and counted.
func TestPreflightsOfNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, path := range []string{"/xrpc/test.example.unknown", "/xrpc/a/b", "/nothing"} {
		a := f.do(t, "OPTIONS", path, nil, "Origin", "https://app.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
		a.want(t, 200, "")
		for name, want := range map[string]string{
			"Access-Control-Allow-Headers": "authorization", "Access-Control-Allow-Methods": "GET,HEAD,POST",
			"Access-Control-Allow-Origin": "*", "Vary": "Access-Control-Request-Headers",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %s: %q, want %q", path, name, got, want)
			}
		}
	}
	f.do(t, "OPTIONS", "/xrpc/test.example.unknown", nil).want(t, 501, "MethodNotImplemented")
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
		if err := out.Event("7", "bad\nname", text("y")); err == nil {
			return errors.New("a name with a line break was sent")
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
	f.do(t, "HEAD", getPath, nil)
	f.Close()
	if e := f.events[2]; e.Status != 200 || e.Error != "" || e.BytesOut != 0 {
		t.Errorf("a HEAD: %+v", e)
	}
	if f.events[0].Method != methodGet.NSID || f.events[1].Method != "" {
		t.Errorf("events: %+v", f.events)
	}
	if strings.Contains(f.logs.String(), "secret") {
		t.Error("a value of the request reached the log")
	}
}

func TestRefusalsNameTheScheme(t *testing.T) {
	t.Parallel()
	a := newFixture(t).do(t, "GET", getPath, nil, "Authorization", "Bearer bad")
	a.want(t, 401, "AuthMissing")
	if got := a.header.Get("WWW-Authenticate"); got != `Bearer realm="atproto"` {
		t.Errorf("WWW-Authenticate is %q", got)
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
