package doctor_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/doctor"
	"mls-server/internal/pgcluster"
	"mls-server/internal/pgtest"
	"mls-server/internal/redistest"
	"mls-server/internal/store"
)

// ward is a patient with all that it stands on.
type ward struct {
	patient *doctor.Patient
	// exec runs a statement as a superuser.
	exec  func(statement string)
	redis *redistest.Server
	// entry is the endpoint in the DID document; health and ready are what the pages answer.
	entry         string
	health, ready int
	id            string
}

// cluster is a PostgreSQL as an operator should run it, but for the settings that differ.
func cluster(t *testing.T, differ map[string]string) (exec func(string), at string) {
	t.Helper()
	settings := map[string]string{
		"fsync": "on", "synchronous_commit": "on", "log_error_verbosity": "terse", "log_min_duration_statement": "-1",
		"idle_in_transaction_session_timeout": "60s", "max_prepared_transactions": "2", "max_connections": "50",
	}
	maps.Copy(settings, differ)
	c, err := pgcluster.Start(t.Context(), pgcluster.Config{Database: "mls", Settings: settings})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	admin := pgtest.Open(t, c.URL("mls"))
	exec = func(statement string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	for _, statement := range []string{"CREATE ROLE mls LOGIN", "ALTER DATABASE mls OWNER TO mls", "ALTER SCHEMA public OWNER TO mls"} {
		exec(statement)
	}
	return exec, strings.Replace(c.URL("mls"), "user=postgres", "user=mls&connect_timeout=5", 1)
}

func newWard(t *testing.T, differ map[string]string) *ward {
	t.Helper()
	w := &ward{health: http.StatusOK, ready: http.StatusOK}
	outside := httptest.NewTLSServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/did.json":
			fmt.Fprintf(out, `{"id":%q,"service":[{"id":"#other","serviceEndpoint":{}},{"id":"#atproto_mls","serviceEndpoint":%q}]}`, w.id, w.entry)
		case "/health":
			out.WriteHeader(w.health)
		case "/health/ready":
			out.WriteHeader(w.ready)
			fmt.Fprint(out, `{"reason":"x"}`)
		case "/_health", "/xrpc/_health":
		default:
			out.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(outside.Close)
	host := strings.TrimPrefix(outside.URL, "https://")
	w.id, w.entry = "did:web:"+strings.Replace(host, ":", "%3A", 1), outside.URL
	var database string
	w.exec, database = cluster(t, differ)
	w.redis = redistest.Start(t)
	client := w.redis.Client(t)
	if err := client.ConfigSet(t.Context(), "slowlog-log-slower-than", "-1").Err(); err != nil {
		t.Fatal(err)
	}
	s, err := store.New(t.Context(), store.Config{URL: database})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Migrate(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	w.patient = &doctor.Patient{
		Store: s, Redis: client, HTTP: outside.Client(), Clock: clock.System, Files: 65536,
		Config: &config.Config{
			Mode: config.Production, LogLevel: "warn", EnforceLXM: true, EnforceJTI: true, RequireIdempotency: true, HashKey: "k", RedisURL: "r",
			DatabaseURL: config.Secret(database), DatabaseMaxConns: 20, AdminHost: "127.0.0.1", AdminPort: 1, BlocksFailClosed: true, AppViewURL: outside.URL,
			PLCURL: outside.URL, ServiceDID: syntax.DID(w.id), ServiceID: "atproto_mls", PublicURL: outside.URL, JetstreamURL: "wss://" + host + "/subscribe",
		},
	}
	return w
}

// bad are the findings that are not fine, as "area: check".
func bad(findings []doctor.Finding) map[string]doctor.Verdict {
	out := map[string]doctor.Verdict{}
	for _, f := range findings {
		if f.Verdict != doctor.Fine {
			out[f.Area+": "+f.Check] = f.Verdict
		}
	}
	return out
}

// TestExamine: a server that stands well has nothing to hear; each thing that is wrong is found,
// and nothing else is said.
func TestExamine(t *testing.T) {
	t.Parallel()
	w := newWard(t, nil)
	findings := doctor.Examine(t.Context(), w.patient)
	if b := bad(findings); len(b) > 0 || doctor.Worst(findings) != doctor.Fine {
		t.Fatalf("nothing is wrong, and yet: %v", b)
	}
	sql := func(statements ...string) func() {
		return func() {
			t.Helper()
			for _, s := range statements {
				w.exec(s)
			}
		}
	}
	setting := func(name, value string) (func(), func()) {
		return sql("ALTER ROLE mls SET " + name + " = " + value), sql("ALTER ROLE mls RESET " + name)
	}
	redisSetting := func(name, value, was string) (func(), func()) {
		set := func(value string) func() {
			return func() {
				t.Helper()
				if err := w.patient.Redis.ConfigSet(t.Context(), name, value).Err(); err != nil {
					t.Fatal(err)
				}
			}
		}
		return set(value), set(was)
	}
	c := w.patient.Config
	pair := func(do, undo func()) [2]func() { return [2]func(){do, undo} }
	flip := func(is *bool) [2]func() { f := func() { *is = !*is }; return pair(f, f) }
	well := *c
	change := func(f func()) [2]func() { return pair(f, func() { *c = well }) }
	for check, with := range map[string][2]func(){
		"configuration: mode!":            change(func() { c.Mode = config.Development }),
		"configuration: log level!":       change(func() { c.LogLevel = "info" }),
		"configuration: tokens":           flip(&c.EnforceJTI),
		"configuration: repeated writes!": flip(&c.RequireIdempotency),
		"configuration: HASH_KEY!":        change(func() { c.HashKey = "" }),
		"configuration: REDIS_URL!":       change(func() { c.RedisURL = "" }),
		"configuration: admin port!":      change(func() { c.AdminHost = "" }),
		"configuration: blocks!":          change(func() { c.BlocksFailClosed, c.AppViewURL = false, "" }),
		"configuration: connect_timeout!": change(func() { c.DatabaseURL = "postgresql://x/y" }),
		"configuration: open files!":      pair(func() { w.patient.Files = 1024 }, func() { w.patient.Files = 65536 }),
		"database: role":                  pair(sql("ALTER DATABASE mls OWNER TO postgres"), sql("ALTER DATABASE mls OWNER TO mls")),
		"database: privileges!":           pair(sql("ALTER ROLE mls SUPERUSER"), sql("ALTER ROLE mls NOSUPERUSER")),
		"database: schema":                pair(sql("ALTER TABLE goose_db_version RENAME TO x"), sql("DROP TABLE IF EXISTS goose_db_version", "ALTER TABLE x RENAME TO goose_db_version")),
		"database: synchronous_commit":    pair(setting("synchronous_commit", "off")),
		"database: log_error_verbosity":   pair(setting("log_error_verbosity", "'default'")),
		"database: log_statement":         pair(setting("log_statement", "'mod'")),
		"database: parameters in the log": pair(setting("log_min_duration_statement", "'1s'")),
		"database: idle transactions!":    pair(setting("idle_in_transaction_session_timeout", "0")),
		"database: prepared transactions": pair(sql("BEGIN; CREATE TABLE p (); PREPARE TRANSACTION 'p'"), sql("ROLLBACK PREPARED 'p'")),
		"database: connections":           change(func() { c.DatabaseMaxConns = 50 }),
		"redis: save":                     pair(redisSetting("save", "60 1", "")),
		"redis: appendonly":               pair(redisSetting("appendonly", "yes", "no")),
		"redis: maxmemory-policy":         pair(redisSetting("maxmemory-policy", "allkeys-lru", "noeviction")),
		"redis: slowlog-log-slower-than!": pair(redisSetting("slowlog-log-slower-than", "10", "-1")),
		"identity: DID document":          pair(func() { w.id = "did:web:other" }, func() { w.id = c.ServiceDID.String() }),
		"identity: service entry":         change(func() { c.ServiceID = "mls" }),
		"identity: service entry!":        change(func() { c.PublicURL = "https://mls.example.org" }),
		"identity: endpoint":              pair(func() { w.health = http.StatusBadGateway }, func() { w.health = http.StatusOK }),
		"identity: readiness":             pair(func() { w.ready = http.StatusServiceUnavailable }, func() { w.ready = http.StatusOK }),
		"network: PLC directory":          change(func() { c.PLCURL = "http://127.0.0.1:1" }),
		"network: AppView!":               change(func() { c.AppViewURL = "http://127.0.0.1:1" }),
		"network: Jetstream!":             change(func() { c.JetstreamURL = "ws://127.0.0.1:1/subscribe" }),
	} {
		name, notice := strings.CutSuffix(check, "!")
		want := doctor.Fault
		if notice {
			want = doctor.Notice
		}
		with[0]()
		findings := doctor.Examine(t.Context(), w.patient)
		with[1]()
		if b := bad(findings); len(b) != 1 || b[name] != want {
			t.Errorf("%s (%v): %v", name, want, b)
		}
		for _, f := range findings {
			if f.Verdict != doctor.Fine && f.Advice == "" {
				t.Errorf("%s: no advice", name)
			}
		}
	}
	if b := bad(doctor.Examine(t.Context(), w.patient)); len(b) > 0 {
		t.Errorf("all is mended, and yet: %v", b)
	}
}

// TestAway: what does not answer is said, and nothing waits for it long.
func TestAway(t *testing.T) {
	t.Parallel()
	s, err := store.New(t.Context(), store.Config{URL: "postgresql://mls:secret@127.0.0.1:1/mls"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	r := redistest.Start(t)
	client := r.Client(t)
	r.Kill()
	p := &doctor.Patient{Store: s, Redis: client, HTTP: http.DefaultClient, Clock: clock.System, Config: &config.Config{
		ServiceDID: "did:web:localhost%3A1", PLCURL: "http://127.0.0.1:1", DatabaseURL: "postgresql://mls:secret@127.0.0.1:1/mls",
	}}
	findings := doctor.Examine(t.Context(), p)
	b := bad(findings)
	for _, name := range []string{"database: connection", "redis: connection", "identity: DID document", "network: PLC directory"} {
		if b[name] != doctor.Fault {
			t.Errorf("%s is not found: %v", name, b)
		}
	}
	var out bytes.Buffer
	if err := doctor.Print(&out, findings, false); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); strings.Contains(text, "secret") || !strings.Contains(text, "connection refused") || strings.Contains(text, "\x1b") {
		t.Errorf("%s", text)
	}
}

// TestSettingsOfTheCluster: what only a restart of PostgreSQL changes is found, all at once.
func TestSettingsOfTheCluster(t *testing.T) {
	t.Parallel()
	w := newWard(t, map[string]string{"fsync": "off", "track_commit_timestamp": "on", "archive_mode": "on", "archive_command": "true"})
	want := map[string]doctor.Verdict{
		"database: fsync": doctor.Fault, "database: track_commit_timestamp": doctor.Fault, "database: write-ahead log": doctor.Notice,
	}
	if b := bad(doctor.Examine(t.Context(), w.patient)); !maps.Equal(b, want) {
		t.Errorf("%v, want %v", b, want)
	}
}

// TestFromOutside: a service that has a name of its own is asked by that name, and whether the
// world reaches its admin port. Without TLS its tokens pass in the clear.
func TestFromOutside(t *testing.T) {
	t.Parallel()
	w := newWard(t, nil)
	c := w.patient.Config
	inside, err := url.Parse(c.PublicURL)
	if err != nil {
		t.Fatal(err)
	}
	transport, ok := w.patient.HTTP.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("%T", w.patient.HTTP.Transport)
	}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, inside.Host)
	}
	// httptest's certificate is for example.com.
	w.id, w.entry = "did:web:example.com", "https://example.com"
	c.ServiceDID, c.PublicURL = "did:web:example.com", "https://example.com"
	if b := bad(doctor.Examine(t.Context(), w.patient)); len(b) > 0 {
		t.Errorf("nothing is wrong, and yet: %v", b)
	}
	open := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) { fmt.Fprint(out, "mls_requests_total 1") }))
	t.Cleanup(open.Close)
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":1") {
			return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(open.URL, "http://"))
		}
		return new(net.Dialer).DialContext(ctx, network, inside.Host)
	}
	if b := bad(doctor.Examine(t.Context(), w.patient)); len(b) != 1 || b["identity: admin port from outside"] != doctor.Fault {
		t.Errorf("an admin port that the world reaches: %v", b)
	}
}

// at is a clock that stands.
type at time.Time

func (a at) Now() time.Time { return time.Time(a) }

// TestCertificateEnds: a certificate is told about before it ends.
func TestCertificateEnds(t *testing.T) {
	t.Parallel()
	w := newWard(t, nil)
	transport, ok := w.patient.HTTP.Transport.(*http.Transport)
	if !ok {
		t.Fatalf("%T", w.patient.HTTP.Transport)
	}
	// httptest's certificate ends the day after.
	late := time.Date(2084, 1, 28, 16, 0, 0, 0, time.UTC)
	transport.TLSClientConfig.Time, w.patient.Clock = func() time.Time { return late }, at(late)
	found := false
	for _, f := range doctor.Examine(t.Context(), w.patient) {
		if f.Check == "certificate" {
			found = true
			if f.Verdict != doctor.Notice || f.Says != "for 1 more days" {
				t.Errorf("%+v", f)
			}
		}
	}
	if !found {
		t.Error("nothing is said about the certificate")
	}
}
