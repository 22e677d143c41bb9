package app

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"mls-server/internal/config"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

// words is what is said to the operator, while it is being said.
type words struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *words) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *words) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// Which release runs is told at the start, by the metrics and by describeServer. The binary itself
// says it with `version` (TestArguments of cmd/mls-server).
func TestReleaseIsToldEverywhere(t *testing.T) {
	t.Parallel()
	vars := map[string]string{
		"MLS_ENV": "development", "DATABASE_URL": pgtest.New(t), "SERVER_HOST": "127.0.0.1", "SERVER_PORT": "0", "ADMIN_PORT": "0",
	}
	cfg, err := config.Load(func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	a, err := Build(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	var said words
	a.Introduce(Release{Version: "v9.9.9", Revision: "abcdef"}, &said)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, done := make(chan [2]net.Addr, 1), make(chan error, 1)
	go func() { done <- a.Run(ctx, func(public, admin net.Addr) { ready <- [2]net.Addr{public, admin} }) }()
	defer func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	addrs := <-ready
	for where, want := range map[string]string{
		addrs[1].String() + "/metrics":                                  `revision="abcdef",version="v9.9.9"} 1`,
		addrs[0].String() + "/xrpc/" + mlsapi.MethodDescribeServer.NSID: `"version":"v9.9.9"`,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+where, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%s does not say %s (%v)", where, want, err)
		}
	}
	if !strings.Contains(said.String(), "release v9.9.9, revision abcdef, serves on ") {
		t.Errorf("said: %s", said.String())
	}
}
