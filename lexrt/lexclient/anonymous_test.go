package lexclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"testing"

	"mls-server/lexrt"
)

// TestAnonymousMethodsNameNobody: a call of an anonymous method has no token, none of the caller's
// headers, no cookie, goes over a connection that carries nothing else, and never through a PDS.
func TestAnonymousMethodsNameNobody(t *testing.T) {
	t.Parallel()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	// Other tests close the idle connections of the default transport.
	opt := Options{
		HTTP: &http.Client{Jar: jar, Transport: &http.Transport{}}, UserAgent: "app", Header: http.Header{"X-Account": {"alice"}, "Authorization": {"Basic x"}},
		Token: func(context.Context, string) (string, error) { return "token", nil },
	}
	type request struct{ from, token, account, cookie, agent string }
	seen := make(chan request, 3)
	c := serve(t, opt, func(w http.ResponseWriter, r *http.Request) {
		seen <- request{r.RemoteAddr, r.Header.Get("Authorization"), r.Header.Get("X-Account"), r.Header.Get("Cookie"), r.UserAgent()}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, "1")
	})
	base, err := url.Parse(c.base)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(base, []*http.Cookie{{Name: "session", Value: "alice"}})
	whisper := *put
	whisper.Open, whisper.Anonymous = true, true
	in, out := text("1"), text("")
	for _, m := range []*lexrt.Method{put, &whisper, put} {
		if err := c.Call(t.Context(), m, nil, &in, &out); err != nil {
			t.Fatal(err)
		}
	}
	known, unnamed, again := <-seen, <-seen, <-seen
	if known.token != "Bearer token" || known.account != "alice" || known.cookie != "session=alice" || known.from != again.from {
		t.Errorf("calls of others have %+v and %+v", known, again)
	}
	if unnamed.token != "" || unnamed.account != "" || unnamed.cookie != "" || unnamed.agent != "app" || unnamed.from == known.from {
		t.Errorf("an anonymous call has %+v, others %+v", unnamed, known)
	}
	opt.Proxy = service
	if err := serve(t, opt, func(http.ResponseWriter, *http.Request) { t.Error("a PDS was asked") }).Call(t.Context(), &whisper, nil, &in, &out); !errors.Is(err, errAnonymousProxy) {
		t.Error(err)
	}
}
