//go:build instruments

package instruments_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

const deploy = "../../../deploy/"

// TestRules: promtool finds the rules right, and their own tests pass.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"check", "rules", deploy + "prometheus/rules.yml"},
		{"test", "rules", deploy + "prometheus/rules_test.yml"},
		{"check", "config", deploy + "prometheus/prometheus.yml"},
	} {
		if out, err := exec.CommandContext(t.Context(), "promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// panel is one query of a dashboard's panel.
type panel struct{ title, query string }

func panels(t *testing.T) (all []panel) {
	t.Helper()
	text, err := os.ReadFile(deploy + "grafana/mls-server.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Type, Title string
			Targets     []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	for _, p := range dashboard.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			t.Errorf("panel %q asks nothing", p.Title)
		}
		for _, target := range p.Targets {
			all = append(all, panel{p.Title, strings.ReplaceAll(target.Expr, "$instance", ".*")})
		}
	}
	return all
}

// prometheus starts a Prometheus with our rules that scrapes a server every second, and returns its
// address.
func prometheus(t *testing.T, admin string) string {
	t.Helper()
	dir := t.TempDir()
	rules, err := filepath.Abs(deploy + "prometheus/rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf("global: {scrape_interval: 1s, evaluation_interval: 1s}\nrule_files: [%q]\nscrape_configs:\n  - job_name: mls-server\n    static_configs: [{targets: [%q]}]\n",
		rules, strings.TrimPrefix(admin, "http://"))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	at := "127.0.0.1:" + e2e.FreePort(t)
	cmd := exec.CommandContext(t.Context(), "prometheus", "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+at, "--log.level=error")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // nothing of it is kept
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus: %s", said.String())
		}
	})
	return "http://" + at
}

// ask reads from Prometheus' API; it is false while Prometheus does not answer.
func ask(t *testing.T, address string, data any) bool {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= http.StatusInternalServerError {
		return false
	}
	if err := json.Unmarshal(text, &struct{ Data any }{data}); err != nil {
		t.Fatalf("%s: %v: %s", address, err, text)
	}
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", address, text)
	}
	return true
}

// shows says whether a query has a value that can be drawn.
func shows(t *testing.T, prometheus, query string) bool {
	t.Helper()
	var data struct {
		Result []struct{ Value [2]any }
	}
	if !ask(t, prometheus+"/api/v1/query?query="+url.QueryEscape(query), &data) {
		return false
	}
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			return true
		}
	}
	return false
}

// TestDashboard: while two people chat, every panel of the dashboard shows something, and every
// rule can be computed.
func TestDashboard(t *testing.T) {
	t.Parallel()
	s := e2e.StartProcess(t, e2e.Binary(t), pgtest.New(t), authtest.NewDirectory(t, nil))
	at := prometheus(t, s.Admin)
	users := s.Users(2)
	users[0].Register(t, 5)
	users[1].Register(t, 5)
	chat := users[0].Create(t, users[1])
	users[1].Follow(t, "")
	missing := panels(t)
	if len(missing) < 25 {
		t.Fatalf("only %d queries", len(missing))
	}
	deadline := time.Now().Add(4 * time.Minute)
	for len(missing) > 0 && time.Now().Before(deadline) {
		for range 20 {
			users[0].Send(t, chat)
			users[1].Get(t, mlsapi.MethodGetMessages, nil, "convoId", "nosuch").Want(t, http.StatusNotFound, "ConvoNotFound")
		}
		left := missing[:0:0]
		for _, p := range missing {
			if !shows(t, at, p.query) {
				left = append(left, p)
			}
		}
		missing = left
	}
	for _, p := range missing {
		t.Errorf("panel %q shows nothing: %s", p.title, p.query)
	}
	var rules struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	ask(t, at+"/api/v1/rules", &rules)
	n := 0
	for _, g := range rules.Groups {
		for _, r := range g.Rules {
			n++
			if r.Health != "ok" || r.State == "firing" {
				t.Errorf("rule %s: %s %s %s", r.Name, r.Health, r.State, r.LastError)
			}
		}
	}
	if n < 15 {
		t.Errorf("%d rules", n)
	}
}
