package xrpc_test

import (
	"context"
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

var methodCases = &lexrt.Method{
	NSID: "test.example.sendThing", Kind: lexrt.Procedure, Input: "application/json", Output: "application/json", MaxBody: 64 << 10,
	RateClass: "usual", Cases: []lexrt.Case{{RateClass: "special", MaxBody: 100}},
}

// sending is a server with a method whose calls are of two classes, of each of which there are two,
// and gives what calls it: a usual or special one, as the body says.
func sending(t *testing.T) func(class string, size int) answer {
	t.Helper()
	f := &fixture{ipTokens: 1000}
	limiter, err := ratelimit.NewMemory(map[string]ratelimit.Rate{
		ratelimit.ClassDefault: {PerMinute: 100, Burst: 100}, "usual": {PerMinute: 1, Burst: 2}, "special": {PerMinute: 1, Burst: 2},
	}, clock.System)
	if err != nil {
		t.Fatal(err)
	}
	s := xrpc.New(xrpc.Options{
		Authenticator: f, Limiter: limiter, Observer: f, Clock: clock.System, MapError: func(error) *lexrt.Error { return nil },
		Logger: slog.New(slog.DiscardHandler), ClientIP: func(*http.Request) string { return "192.0.2.1" },
	})
	s.Handle(methodCases, func(_ context.Context, req *lexrt.Request) (lexrt.Response, error) {
		class, _, _ := strings.Cut(strings.Trim(string(req.Body), `"`), " ")
		if err := req.Charge(class); err != nil {
			return nil, err
		}
		return text("ok"), nil
	})
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return func(class string, size int) answer {
		t.Helper()
		body := `"` + class + " " + strings.Repeat("x", size-len(class)-3) + `"`
		return seal(t, server.URL+"/xrpc/"+methodCases.NSID, strings.NewReader(body), "Authorization", "Bearer good")
	}
}

// Calls of a case take nothing of what others have, nor others of theirs, and each is told of its
// own bucket.
func TestCasesHaveTheirOwnClass(t *testing.T) {
	t.Parallel()
	call := sending(t)
	for _, class := range []string{"special", "usual", "special", "usual"} {
		a := call(class, 20)
		a.want(t, http.StatusOK, "ok")
		if got := a.header.Get("Ratelimit-Limit"); got != "2" {
			t.Errorf("the limit is %s", got)
		}
	}
	for _, class := range []string{"special", "usual"} {
		call(class, 20).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	}
}

// Whatever is read is paid for, by a token of one class or of the other: a flood that pretends to
// be the other class ends when both are used up.
func TestCasesPayForWhatIsRead(t *testing.T) {
	t.Parallel()
	call := sending(t)
	for range 2 {
		call("usual", 20).want(t, http.StatusOK, "ok")
	}
	// The first is read, and takes a special token. The second is not.
	call("usual", 20).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	call("usual", 200).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	call("special", 20).want(t, http.StatusOK, "ok")
	call("special", 20).want(t, http.StatusTooManyRequests, "RateLimitExceeded")

	call = sending(t)
	for range 2 { // too large to be special: they take usual ones
		call("special", 200).want(t, http.StatusOK, "ok")
	}
	call("special", 200).want(t, http.StatusTooManyRequests, "RateLimitExceeded")
	for range 2 {
		call("special", 20).want(t, http.StatusOK, "ok")
	}
}
