package xrpc_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mls-server/internal/clock"
	"mls-server/internal/ratelimit"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

var methodSeal = &lexrt.Method{
	NSID: "test.example.sealThing", Kind: lexrt.Procedure, Input: "application/json", Output: "application/json", MaxBody: 64 << 10,
	RateClass: "calls", ByteClass: "bytes", Open: true, Anonymous: true, Errors: []*lexrt.Error{lexrt.ErrTokenNotAllowed},
}

// sealing is a server with an anonymous method, whose address may send 8 KiB in 5 calls, and tell
// what reached its endpoint.
func sealing(t *testing.T) (url string, f *fixture, reached *[]string) {
	t.Helper()
	f, reached = &fixture{ipTokens: 1000}, new([]string)
	limiter, err := ratelimit.NewMemory(map[string]ratelimit.Rate{
		ratelimit.ClassDefault: {PerMinute: 100, Burst: 100}, "calls": {PerMinute: 1, Burst: 5}, "bytes": {PerMinute: 1, Burst: 8},
	}, clock.System)
	if err != nil {
		t.Fatal(err)
	}
	s := xrpc.New(xrpc.Options{
		Authenticator: f, Limiter: limiter, Observer: f, Clock: clock.System, Admit: f.look, MapError: func(error) *lexrt.Error { return nil },
		Seen:   func(*lexrt.Method, lexrt.Caller) { t.Error("somebody was noted") },
		Logger: slog.New(slog.NewTextHandler(&f.logs, nil)), ClientIP: func(*http.Request) string { return "192.0.2.1" },
	})
	s.Handle(methodSeal, func(ctx context.Context, req *lexrt.Request) (lexrt.Response, error) {
		*reached = append(*reached, fmt.Sprintf("%+v %+v", req.Caller, ctx))
		return text("ok"), nil
	})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return server.URL + "/xrpc/" + methodSeal.NSID, f, reached
}

// seal calls the method with a body and headers. One of unknown size is sent in chunks.
func seal(t *testing.T, url string, body io.Reader, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", asJSON)
	for i := 0; i < len(headers); i += 2 {
		r.Header[headers[i]] = []string{headers[i+1]}
	}
	resp, err := http.DefaultClient.Do(r)
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

// A request that says who makes it is refused without a look at who that is, and nothing in the
// context of one that does not names anybody (I16).
func TestAnonymousMethodsRefuseTokens(t *testing.T) {
	t.Parallel()
	url, f, reached := sealing(t)
	for _, token := range []string{"Bearer good", "Bearer forged", "", "Basic YTpi"} {
		seal(t, url, strings.NewReader("{}"), "Authorization", token).want(t, http.StatusBadRequest, "TokenNotAllowed")
	}
	if f.authenticated() != 0 || f.admitted != 0 || len(*reached) != 0 {
		t.Errorf("%d tokens and %d accounts were looked at, %d requests handled", f.authenticated(), f.admitted, len(*reached))
	}
	seal(t, url, strings.NewReader("{}"), "X-Account", "did:plc:somebodysomebodysomebody", "Cookie", "account=did:plc:somebodysomebodysomebody").want(t, http.StatusOK, "ok")
	if len(*reached) != 1 || strings.Contains((*reached)[0], "did:") || strings.Contains((*reached)[0], "192.0.2.1") {
		t.Errorf("the endpoint was told %q", *reached)
	}
	if strings.Contains(f.logs.String(), "did:") || strings.Contains(f.logs.String(), "192.0.2.1") {
		t.Errorf("the log has %s", f.logs.String())
	}
}

// The size of a body is counted before it is read where it is announced, else when it is read, and
// what the address has no bytes left for does not reach the endpoint.
func TestBytesAreCounted(t *testing.T) {
	t.Parallel()
	large := func(n int) []byte { return append(bytes.Repeat([]byte{' '}, n-2), "{}"...) }
	t.Run("announced", func(t *testing.T) {
		t.Parallel()
		url, f, reached := sealing(t)
		seal(t, url, bytes.NewReader(large(4<<10))).want(t, http.StatusOK, "ok")
		a := seal(t, url, bytes.NewReader(large(4<<10+1)))
		a.want(t, http.StatusTooManyRequests, "RateLimitExceeded")
		if a.header.Get("Retry-After") == "" || len(*reached) != 1 {
			t.Errorf("%v, %d requests handled", a.header, len(*reached))
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if in := f.events[len(f.events)-1].BytesIn; in != 0 {
			t.Errorf("%d bytes of the refused body were read", in)
		}
	})
	t.Run("in chunks", func(t *testing.T) {
		t.Parallel()
		url, _, reached := sealing(t)
		chunked := func(n int) io.Reader { return io.MultiReader(bytes.NewReader(large(n))) }
		seal(t, url, chunked(9<<10)).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
		seal(t, url, chunked(8<<10)).want(t, http.StatusOK, "ok")
		seal(t, url, chunked(2)).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
		if len(*reached) != 1 {
			t.Errorf("%d requests handled", len(*reached))
		}
	})
	t.Run("by calls", func(t *testing.T) {
		t.Parallel()
		url, _, _ := sealing(t)
		for range 5 {
			seal(t, url, strings.NewReader("{}")).want(t, http.StatusOK, "ok")
		}
		seal(t, url, strings.NewReader("{}")).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	})
}
