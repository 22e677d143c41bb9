package e2e_test

import (
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/obs"
	"mls-server/internal/pgtest"
	"mls-server/internal/redistest"
)

// movedElsewhere are moved by tests of packages accounts, app, auth and stream: nothing that
// a client does moves them at a time of its choice.
var movedElsewhere = []string{
	"mls_build_info", // says from the start what runs
	"mls_body_memory_bytes", "mls_pool_connections_max", "mls_retention_timestamp_seconds",
	"mls_account_states_age_seconds", "mls_active_conversations", "mls_event_log_lag_seconds", "mls_job_rows_total", "mls_job_runs_total", "mls_undeclared_errors_total", "mls_unknown_tokens_total",
}

// observations adds up all series of a metric; of a histogram, its observations.
func observations(series map[string]float64, name string) (total float64) {
	for s, v := range series {
		if base, _, _ := strings.Cut(s, "{"); base == name || base == name+"_count" {
			total += v
		}
	}
	return total
}

// Every metric that OPERATIONS.md names moves when what it counts happens.
func TestEveryMetricMoves(t *testing.T) {
	t.Parallel()
	j, redis := newJetstream(t), redistest.Start(t)
	dir, db := authtest.NewDirectory(t, nil), pgtest.New(t)
	s := e2e.StartOn(t, db, dir, e2e.Env{
		"JETSTREAM_URL": "ws://" + j.hostPort() + "/subscribe", "REDIS_URL": redis.URL(), "APPVIEW_URL": "none", "BLOCKS_FAIL_CLOSED": "false",
		"EGRESS_ALLOW": strings.Join(append(dir.HostPorts(), j.hostPort()), ","),
	})
	before := scrape(t, s)
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t, users[1])
	bob.Confirm(t, chat, true)
	stream := bob.Follow(t, "")
	alice.Send(t, chat)
	stream.Await(t, "message")
	if n := scrape(t, s)[`mls_streams{door="sse"}`]; n != 1 {
		t.Errorf("%v open streams, want 1", n)
	}
	dial(t, users[1]).Close()
	eventually(t, "its end is counted", func() bool { return scrape(t, s)[`mls_stream_ends_total{door="websocket",reason="left"}`] == 1 })
	j.publish(t, alice.DID, bob.DID, "3kaaaaaaaaaa2")
	eventually(t, "the Jetstream is read", func() bool { return scrape(t, s)[`mls_jetstream_events_total{event="block"}`] == 1 })

	// A message with the same id that is committed while the statement waits is a retry.
	pool := pgtest.Open(t, db)
	in := chat.Message()
	tx, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `INSERT INTO messages (convo_id, seq, msg_id, kind, epoch, ciphertext, padded_size, received_bucket_ts)
		SELECT convo_id, 1000, $1, kind, epoch, ciphertext, padded_size, received_bucket_ts FROM messages LIMIT 1`, in.MsgID); err != nil {
		t.Fatal(err)
	}
	answer := make(chan e2e.Answer, 1)
	go func() { answer <- alice.Post(t, mlsapi.MethodSendMessage, in, nil) }()
	eventually(t, "the send waits", func() bool {
		var waiting int
		err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&waiting)
		return err == nil && waiting > 0
	})
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	(<-answer).Want(t, http.StatusConflict, "MessageIdConflict")

	// A query that fails, and decisions without Redis.
	if _, err := pool.Exec(t.Context(), "ALTER TABLE reports RENAME TO reports_away"); err != nil {
		t.Fatal(err)
	}
	redis.Kill()
	alice.Get(t, mlsapi.MethodGetReports, nil, "convoId", chat.ID).Want(t, http.StatusInternalServerError, "InternalServerError")

	// A token of which neither Redis nor PostgreSQL can say whether it was used.
	if _, err := pool.Exec(t.Context(), "ALTER TABLE used_jtis RENAME TO used_jtis_away"); err != nil {
		t.Fatal(err)
	}
	alice.Get(t, mlsapi.MethodGetConvos, nil).Want(t, http.StatusServiceUnavailable, "NotEnoughResources")

	after := scrape(t, s)
	for _, name := range obs.Names() {
		if observations(after, name) <= observations(before, name) && !slices.Contains(movedElsewhere, name) {
			t.Errorf("%s did not move: %v", name, observations(after, name))
		}
	}
}

// Sent messages are counted by kind, with their sizes.
func TestMessagesAreCounted(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	users := s.Users(2)
	alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
	chat := alice.Create(t)
	alice.Add(t, chat, users[1])
	in := chat.Message()
	alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t)
	alice.Post(t, mlsapi.MethodSendMessage, in, nil).OK(t) // a repeat is not stored again
	bob.SendBytes(t, chat, chat.Group.PrivateProposal()).OK(t)
	got := scrape(t, s)
	for kind, want := range map[string]float64{"app": 1, "commit": 1, "proposal": 1} {
		if n := got[`mls_messages_total{kind="`+kind+`"}`]; n != want {
			t.Errorf("%v messages of kind %s, want %v", n, kind, want)
		}
	}
	if n, size := got["mls_message_size_bytes_count"], got["mls_message_size_bytes_sum"]; n != 3 || size < 512 {
		t.Errorf("%v sizes with a sum of %v", n, size)
	}
}

// More users and conversations make no more series, and no series names anybody.
func TestSeriesAreBounded(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	var secrets []string
	load := func(pairs int) []string {
		for range pairs {
			users := s.Users(2)
			alice, bob := users[0].Register(t, 1), users[1].Register(t, 1)
			chat := alice.Create(t, users[1])
			bob.Confirm(t, chat, true)
			stream := bob.Follow(t, "")
			sent := alice.Send(t, chat)
			stream.Await(t, "message")
			bob.Messages(t, chat)
			bob.Convos(t)
			secrets = append(secrets, string(alice.DID), string(bob.DID), chat.ID, string(chat.Group.GroupID()), alice.ID, bob.ID, sent.MessageID)
		}
		series := scrape(t, s)
		maps.DeleteFunc(series, func(name string, _ float64) bool { return !strings.HasPrefix(name, "mls_") })
		return slices.Sorted(maps.Keys(series))
	}
	// A retention job may run once in between and bring its own series, of a closed
	// set, too; series of users or conversations would come with every round.
	series := load(2)
	stable := false
	for range 3 {
		before := series
		series = load(10)
		if stable = slices.Equal(before, series); stable {
			break
		}
	}
	if !stable {
		t.Errorf("the series grow with the users:\n%s", strings.Join(series, "\n"))
	}
	all := strings.Join(series, "\n")
	for _, secret := range secrets {
		if strings.Contains(all, secret) {
			t.Errorf("a metric names %q", secret)
		}
	}
}

// Metrics and profiles are on the admin port and nowhere else.
func TestAdminPortAlone(t *testing.T) {
	t.Parallel()
	s := e2e.Start(t)
	for _, path := range []string{"/metrics", "/debug/pprof/", "/debug/pprof/goroutine", "/debug/pprof/cmdline", "/debug/pprof/symbol"} {
		for base, want := range map[string]int{s.Admin: http.StatusOK, s.URL: http.StatusNotFound} {
			resp, body := fetch(t, base+path)
			if resp.StatusCode != want {
				t.Errorf("%s on the port of %s: %d, want %d", path, base, resp.StatusCode, want)
			}
			if want == http.StatusNotFound && (strings.Contains(body, "mls_") || strings.Contains(body, "goroutine")) {
				t.Errorf("%s: %s", path, body)
			}
		}
	}
	if resp, _ := fetch(t, s.Admin+"/xrpc/blue.catbird.mls.getConvos"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the admin port serves methods: %d", resp.StatusCode)
	}
	if !strings.HasPrefix(s.Admin, "http://127.0.0.1:") {
		t.Errorf("the admin port listens on %s", s.Admin)
	}
}

// fetched is an answer without its body, which fetch has read.
type fetched struct {
	StatusCode int
	Header     http.Header
}

func fetch(t *testing.T, url string) (fetched, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fetched{resp.StatusCode, resp.Header}, string(body)
}
