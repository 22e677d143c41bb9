package lexclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"mls-server/lexrt"
)

const service = "did:web:mls.example.com#atproto_mls"

func TestNewRefusesBadServices(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"did:web:mls.example.com", "#atproto_mls", "did:web:mls.example.com#", "mls.example.com#atproto_mls", service + "#b", service + " x", service + "\r\nA: b"} {
		if _, err := New("https://pds.example", Options{Proxy: text}); !errors.Is(err, errProxy) {
			t.Errorf("Proxy %q: %v", text, err)
		}
		if _, err := ServiceAuth(nil, text); !errors.Is(err, errProxy) {
			t.Errorf("ServiceAuth %q: %v", text, err)
		}
	}
	if _, err := New("https://pds.example", Options{Proxy: "did:web:localhost%3A3000#atproto_mls"}); err != nil {
		t.Error(err)
	}
}

// TestHeaders: every request has the service and the caller's headers, streams too, and none of
// these is in the way of what the client says itself. Later changes of the caller's map change
// nothing.
func TestHeaders(t *testing.T) {
	t.Parallel()
	seen := make(chan http.Header, 4)
	trace := []string{"a", "b"}
	header := http.Header{"x-trace": trace, "Content-Type": {"text/plain"}, "Authorization": {"Basic x"}, "Atproto-Proxy": {"did:web:other.example#x"}, "User-Agent": {"theirs"}}
	opt := Options{Proxy: service, Header: header, UserAgent: "ours", Token: func(_ context.Context, lxm string) (string, error) { return "t " + lxm, nil }}
	c := serve(t, opt, func(w http.ResponseWriter, r *http.Request) {
		seen <- r.Header
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
		if strings.Contains(r.Header.Get("Accept"), "event-stream") {
			fmt.Fprint(w, "id: 1\ndata: 1\n\n")
			return
		}
		fmt.Fprint(w, "1")
	})
	trace[0] = "changed"
	header.Set("X-More", "1")
	in, out := text("1"), text("")
	open := &lexrt.Method{NSID: "com.example.open", Kind: lexrt.Query, Output: "application/json", Open: true}
	if err := errors.Join(c.Call(t.Context(), put, nil, &in, &out), c.Call(t.Context(), open, nil, nil, &out)); err != nil {
		t.Fatal(err)
	}
	stream := NewStream[text](c, events, nil, "cursor")
	defer stream.Close()
	if _, err := stream.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []struct{ lxm, contentType string }{{put.NSID, "application/json"}, {open.NSID, "text/plain"}, {events.NSID, "text/plain"}} {
		h := <-seen
		got := []string{h.Get("Atproto-Proxy"), strings.Join(h.Values("X-Trace"), ","), h.Get("Authorization"), h.Get("User-Agent"), h.Get("Content-Type"), h.Get("X-More")}
		if all := strings.Join(got, "; "); all != service+"; a,b; Bearer t "+want.lxm+"; ours; "+want.contentType+"; " {
			t.Errorf("%s: %s", want.lxm, all)
		}
	}
}

// TestServiceAuth: the audience has the service id unless the PDS does not take that, and is asked
// for once only after it is known.
func TestServiceAuth(t *testing.T) {
	t.Parallel()
	const bare = "did:web:mls.example.com"
	for _, c := range []struct {
		name   string
		status map[string]int // by audience; 0 is a token
		calls  string         // audiences asked for by two tokens
		err    string
	}{
		{"any", nil, service + " " + service, ""},
		{"OAuth", map[string]int{bare: 403}, service + " " + service, ""},
		{"older PDS", map[string]int{service: 500}, service + " " + bare + " " + bare, ""},
		{"strict PDS", map[string]int{service: 400}, service + " " + bare + " " + bare, ""},
		{"no scope", map[string]int{service: 403, bare: 403}, strings.Repeat(service+" "+bare+" ", 2), "ScopeMissingError"},
		{"signed out", map[string]int{service: 401}, service + " " + service, "AuthenticationRequired"},
		{"busy", map[string]int{service: 429}, service + " " + service, "RateLimitExceeded"},
	} {
		var asked []string
		pds := serve(t, Options{Token: func(context.Context, string) (string, error) { return "session", nil }}, func(w http.ResponseWriter, r *http.Request) {
			aud := r.URL.Query().Get("aud")
			asked = append(asked, aud)
			w.Header().Set("Content-Type", "application/json")
			if r.Header.Get("Authorization") != "Bearer session" || r.URL.Path != "/xrpc/com.atproto.server.getServiceAuth" || r.URL.Query().Get("lxm") != "com.example.getThing" {
				t.Errorf("%s: %s %s", c.name, r.URL, r.Header.Get("Authorization"))
			}
			switch status := c.status[aud]; status {
			case 0:
				fmt.Fprintf(w, `{"token":"for %s"}`, aud)
			case 403:
				w.WriteHeader(status)
				fmt.Fprint(w, `{"error":"ScopeMissingError"}`)
			default:
				w.WriteHeader(status)
			}
		})
		source, err := ServiceAuth(pds, service)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			token, err := source(t.Context(), "com.example.getThing")
			if c.err == "" && (err != nil || token != "for "+asked[len(asked)-1]) {
				t.Errorf("%s: %q, %v", c.name, token, err)
			}
			if named, ok := errors.AsType[*lexrt.Error](err); c.err != "" && (!ok || named.Name != c.err || token != "") {
				t.Errorf("%s: %q, %v; want %s", c.name, token, err, c.err)
			}
		}
		if got := strings.Join(asked, " "); got != strings.TrimSpace(c.calls) {
			t.Errorf("%s: asked for %s, want %s", c.name, got, c.calls)
		}
	}
}

// TestTokenThatIsNone: what a PDS says instead of a token is not repeated.
func TestTokenThatIsNone(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"token":""}`, `{"token":7}`, `{"secret":"abc"}`, `"abc"`} {
		source, err := ServiceAuth(serve(t, Options{}, answer("application/json", body)), service)
		if err != nil {
			t.Fatal(err)
		}
		if token, err := source(t.Context(), "a.b.c"); token != "" || !errors.Is(err, errNoToken) || strings.Contains(err.Error(), "abc") {
			t.Errorf("%s: %q, %v", body, token, err)
		}
	}
}
