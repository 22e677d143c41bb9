package e2e_test

import (
	"bufio"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/pgtest"
)

// eventually waits up to 15 seconds for a condition.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("not within 15 seconds: %s", what)
}

// scrape reads the metrics of a server: the value of each series.
func scrape(t *testing.T, s *e2e.Server) map[string]float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Admin+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	series := map[string]float64{}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		name, value, ok := strings.Cut(lines.Text(), "} ")
		if ok {
			name += "}"
		} else if name, value, ok = strings.Cut(lines.Text(), " "); !ok {
			continue
		}
		if v, err := strconv.ParseFloat(value, 64); err == nil && !strings.HasPrefix(name, "#") {
			series[name] = v
		}
	}
	return series
}

// startProcess runs a server as a process of its own, for tests of what it takes
// of the machine: the metrics on its admin port are of nobody else.
func startProcess(t *testing.T, env e2e.Env) *e2e.Server {
	t.Helper()
	return e2e.StartProcess(t, e2e.Binary(t), pgtest.New(t), authtest.NewDirectory(t, nil), env).Server
}
