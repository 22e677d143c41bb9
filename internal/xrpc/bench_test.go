package xrpc_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"mls-server/internal/clock"
	"mls-server/internal/ratelimit"
	"mls-server/internal/redact"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

// silent lets everybody in and drops what it is told.
type silent struct{}

func (silent) Authenticate(context.Context, *lexrt.Method, string, string) (xrpc.Credential, error) {
	return xrpc.Credential{Caller: lexrt.Caller{DID: "did:plc:testtesttesttesttesttest"}}, nil
}
func (silent) Spend(context.Context, xrpc.Credential) error { return nil }
func (silent) Take(context.Context, string, string, int) ratelimit.Result {
	return ratelimit.Result{Allowed: true}
}
func (silent) Give(context.Context, string, string, int) {}
func (silent) Peek(string, string) ratelimit.Result      { return ratelimit.Result{Allowed: true} }
func (silent) ObserveRequest(xrpc.Event)                 {}
func (silent) ObserveUndeclared(*lexrt.Method, string)   {}
func (silent) Write(p []byte) (int, error)               { return len(p), nil }

// dropped is an answer that nobody reads.
type dropped struct{ header http.Header }

func (d dropped) Header() http.Header         { return d.header }
func (d dropped) Write(p []byte) (int, error) { return len(p), nil }
func (d dropped) WriteHeader(int)             {}

// BenchmarkRequest is what a request of 2 KiB costs between net/http and its
// endpoint, with and without a line in the log.
func BenchmarkRequest(b *testing.B) {
	for name, level := range map[string]slog.Level{"logged": slog.LevelInfo, "quiet": slog.LevelWarn} {
		b.Run(name, func(b *testing.B) {
			schema := redact.BaseSchema().With("method", methodPut.NSID)
			s := xrpc.New(xrpc.Options{
				Authenticator: silent{}, Limiter: silent{}, Observer: silent{}, Clock: clock.System,
				MapError: func(error) *lexrt.Error { return nil },
				Logger:   slog.New(redact.NewHandler(slog.NewJSONHandler(silent{}, &slog.HandlerOptions{Level: level}), schema, newHasher(b))),
				ClientIP: func(*http.Request) string { return "192.0.2.1" },
			})
			s.Handle(methodPut, func(context.Context, *lexrt.Request) (lexrt.Response, error) { return text("ok"), nil })
			body := []byte(`"` + strings.Repeat("x", 2046) + `"`)
			w := dropped{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "/xrpc/"+methodPut.NSID, bytes.NewReader(body))
				if err != nil {
					b.Fatal(err)
				}
				r.Header["Authorization"], r.Header["Content-Type"] = []string{"Bearer x"}, []string{"application/json"}
				clear(w.header)
				s.ServeHTTP(w, r)
			}
		})
	}
}
