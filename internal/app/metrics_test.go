package app

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"mls-server/internal/config"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/pgtest"
)

// The jobs and the runtime report to the metrics that they are given.
func TestMetricsOfJobsAndRuntime(t *testing.T) {
	t.Parallel()
	env := map[string]string{"MLS_ENV": "development", "DATABASE_URL": pgtest.New(t)}
	cfg, err := config.Load(func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		t.Fatal(err)
	}
	a, err := Build(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer a.close()
	pool := pgtest.Open(t, string(cfg.DatabaseURL))
	for _, statement := range []string{
		`INSERT INTO conversations (id, group_id, creator_did, cipher_suite, epoch, last_seq, created_at, last_activity_at, last_message_bucket_ts)
			SELECT '3kaaaaaaaaaa2', 'aa', 'did:plc:a', 1, 0, 1, t, t, t FROM date_bin('2 seconds', now(), '2000-01-01 00:00:00+00') t`,
		`INSERT INTO used_jtis (hash, expires_at) VALUES (sha256('x'), now() - interval '1 day')`,
	} {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	a.jobs.Once(t.Context())
	a.metrics.ObserveUndeclared(mlsapi.MethodGetConvos, "Odd")
	w := httptest.NewRecorder()
	a.metrics.AdminHandler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", http.NoBody))
	for _, want := range []string{
		"mls_active_conversations 1\n", `mls_job_runs_total{job="used_jtis",result="ok"} 1`, `mls_job_rows_total{job="used_jtis"} 1`,
		"mls_retention_timestamp_seconds 1.", "mls_pool_connections_max 20\n", `mls_pool_connections{state="idle"} `, "mls_pool_waits_total ", "mls_pool_wait_seconds_total ",
		`mls_body_memory_bytes{state="used"} 0`, `mls_body_memory_bytes{state="max"} 3.3554432e+08`, "mls_event_log_generation_timestamp_seconds 1.",
		`mls_undeclared_errors_total{method="blue.catbird.mls.getConvos"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("no %s", want)
		}
	}
}
