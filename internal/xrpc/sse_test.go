package xrpc_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mls-server/lexrt"
)

// A stream outlives the time that the server gives a request to arrive.
func TestStreamOutlivesReadTimeout(t *testing.T) {
	t.Parallel()
	const limit = 100 * time.Millisecond
	f := newFixture(t)
	f.stream = func(ctx context.Context, _ *lexrt.Request, out lexrt.EventStream) error {
		if err := out.Comment("begin"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(4 * limit):
		}
		return out.Frames(lexrt.AppendFrame(nil, "1", "a", text("x")), lexrt.AppendFrame(nil, "2", "", nil))
	}
	server := httptest.NewUnstartedServer(f.Config.Handler)
	server.Config.ReadTimeout = limit
	server.Start()
	t.Cleanup(server.Close)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/xrpc/test.example.stream", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer good")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if want := ": begin\n\nid: 1\nevent: a\ndata: \"x\"\n\nid: 2\n\n"; err != nil || string(body) != want {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestDirect(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.stream = func(_ context.Context, _ *lexrt.Request, out lexrt.EventStream) error {
		if out.Direct() {
			return out.Comment("direct")
		}
		return out.Comment("proxied?")
	}
	for header, want := range map[string]string{"": "proxied?", "Last-Event-ID": "direct", "Origin": "direct", "Accept-Language": "proxied?"} {
		var headers []string
		if header != "" {
			headers = []string{header, "1"}
		}
		if a := f.do(t, "GET", "/xrpc/test.example.stream", nil, headers...); !strings.Contains(a.body, want) {
			t.Errorf("with %q: %q, want %q", header, a.body, want)
		}
	}
}
