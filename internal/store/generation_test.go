package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/mls"
	"mls-server/internal/pgcluster"
	"mls-server/internal/pgtest"
)

// In a younger cluster a restored log is ahead of all transaction ids: a
// generation begins, once, whose number is a time, old cursors stay valid, and
// nothing new sorts before them.
func TestGenerationOfARestoredDump(t *testing.T) {
	t.Parallel()
	s := open(t, 4)
	convo := newConvo(t, s, alice)
	_, err := s.SendMessage(t.Context(), message(convo, alice, "before"))
	must(t, err)
	old := readAll(t, s, LogCursor{})
	cursor := old[len(old)-1].Cursor
	lost := cursor
	lost.Xid += 2_000_000
	exec(t, s,
		"UPDATE event_stream SET log_xid = log_xid + 1000000",
		"UPDATE conversations SET log_xid = log_xid + 1000000",
		"UPDATE event_log SET origin = 'elsewhere/00000001'")
	cursor.Xid += 1_000_000

	began := time.Now().Truncate(time.Second)
	restored := connect(t, s.pool.Config().ConnString(), 4)
	must(t, restored.Ping(t.Context()))
	log, err := restored.StreamLog(t.Context(), cursor)
	must(t, err)
	if log.Generation <= cursor.Generation || log.Generation < began.Unix() || !log.Intact {
		t.Errorf("after generation %d: %+v", cursor.Generation, log)
	}
	if got := restored.GenerationBegan(); got.Before(began) || got.After(time.Now()) {
		t.Errorf("the generation began at %v, the restore was at %v", got, began)
	}
	_, err = restored.SendMessage(t.Context(), message(convo, alice, "after"))
	must(t, err)
	fresh := readAll(t, restored, cursor)
	if len(fresh) != 1 || fresh[0].Cursor.Generation != log.Generation || fresh[0].Seq != 2 {
		t.Errorf("after the restore: %+v", fresh)
	}
	for name, at := range map[string]LogCursor{
		"after the end of its generation": lost,
		"of an unknown generation":        {Generation: cursor.Generation - 1, Xid: 1, Position: 1},
		"of a later generation":           {Generation: log.Generation + 1, Xid: 1, Position: 1},
		"ahead of the log":                {Generation: log.Generation, Xid: 1 << 40, Position: 1},
	} {
		if judged, err := restored.StreamLog(t.Context(), at); err != nil || judged.Intact {
			t.Errorf("a cursor %s: %+v, %v", name, judged, err)
		}
	}
	first := old[0].Cursor
	first.Xid += 1_000_000
	for _, at := range []LogCursor{first, cursor, fresh[0].Cursor} {
		if judged, err := restored.StreamLog(t.Context(), at); err != nil || !judged.Intact {
			t.Errorf("cursor %v: %+v, %v", at, judged, err)
		}
	}
	another := connect(t, s.pool.Config().ConnString(), 4)
	must(t, another.Ping(t.Context()))
	if n := one[int64](t, another, "SELECT generation FROM event_log"); n != log.Generation {
		t.Errorf("a second connection began generation %d", n)
	}
}

// Two restores of one backup give different numbers to their generations, so
// that a cursor of the first is not taken for one of the second; also when the
// clock went back in between.
func TestGenerationsOfTwoRestores(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	must(t, s.Ping(t.Context()))
	generations := map[int64]bool{}
	for _, clock := range []string{"1700000000", "1700000100", "5", "1e12"} {
		// The number that a restore at that time would give, after generation 3.
		n := one[int64](t, s, strings.NewReplacer(
			"generation + 1", "3 + 1", "date_part('epoch', clock_timestamp())", clock+"::float8").Replace(
			"SELECT "+between(t, generated(t)["beginLogGeneration"], "SET generation = ", ",\n    origin")))
		if generations[n] || n < 1<<30 || n >= 1<<32 {
			t.Errorf("with the clock at %s the generation is %d", clock, n)
		}
		if clock != "5" { // both have no clock to speak of
			generations[n] = true
		}
	}
}

// Two copies of one backup that begin one right after the other have different numbers: a cursor of
// the one would be taken for one of the other, once its transaction ids are passed.
func TestGenerationsOfOneSecond(t *testing.T) {
	t.Parallel()
	s := open(t, 1)
	_, err := s.SendMessage(t.Context(), message(newConvo(t, s, alice), alice, "in the backup"))
	must(t, err)
	begin := func() int64 {
		t.Helper()
		exec(t, s, "UPDATE event_log SET generation = 1700000000, origin = 'before'")
		log, err := s.StreamLog(t.Context(), LogCursor{})
		must(t, err)
		return log.Generation
	}
	if first, second := begin(), begin(); first >= second {
		t.Errorf("generations %d and %d", first, second)
	}
}

func between(t *testing.T, s, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, from)
	middle, _, end := strings.Cut(rest, to)
	if !ok || !end {
		t.Fatalf("no %q … %q in %s", from, to, s)
	}
	return middle
}

// A connection through a pooler outlives the database behind it. Nothing is
// written through it in a generation that has ended: the client repeats, and
// the next look at the log begins the generation.
func TestEndedGenerationIsNotWritten(t *testing.T) {
	t.Parallel()
	s := open(t, 1)
	convo := newConvo(t, s, alice)
	before := one[int64](t, s, "SELECT generation FROM event_log")
	exec(t, s, "UPDATE event_log SET origin = 'before', life = 0")
	_, err := s.SendMessage(t.Context(), message(convo, alice, "too early"))
	wantErr(t, err, mls.ErrBusy)
	wantErr(t, s.InTx(t.Context(), func(tx *Tx) error {
		return tx.AppendEvents(t.Context(), convo, noon, NewEvent{Kind: EventAdminChanged, Audience: ToMembers, User: alice})
	}), mls.ErrBusy)
	log, err := s.StreamLog(t.Context(), LogCursor{})
	must(t, err)
	if log.Generation <= before {
		t.Errorf("generation %d after %d", log.Generation, before)
	}
	_, err = s.SendMessage(t.Context(), message(convo, alice, "again"))
	must(t, err)
}

// Only transactions of this database hold the log up, whoever makes them, and a
// role without any privilege sees that.
func TestLogWaitsForThisDatabaseOnly(t *testing.T) {
	t.Parallel()
	cluster, err := pgcluster.Start(t.Context(), pgcluster.Config{Settings: map[string]string{"max_prepared_transactions": "2"}})
	must(t, err)
	t.Cleanup(func() { must(t, cluster.Stop()) })
	super := dial(t, cluster.URL("postgres"))
	for _, statement := range []string{
		"CREATE ROLE plain LOGIN", "CREATE ROLE colleague LOGIN", "CREATE DATABASE app OWNER plain", "CREATE DATABASE neighbour",
	} {
		run(t, super, statement)
	}
	url := strings.Replace(cluster.URL("app"), "user=postgres", "user=plain", 1)
	first := connect(t, url, 2)
	must(t, first.Migrate(t.Context(), nil))
	s := connect(t, url, 4)
	convo := newConvo(t, s, alice)
	run(t, dial(t, cluster.URL("app")), "GRANT ALL ON ALL TABLES IN SCHEMA public TO colleague")
	colleague := strings.Replace(cluster.URL("app"), "user=postgres", "user=colleague", 1)
	sent := 0
	waits := func() bool {
		t.Helper()
		sent++
		_, err := s.SendMessage(t.Context(), message(convo, alice, fmt.Sprint(sent)))
		must(t, err)
		end, err := s.LogEnd(t.Context())
		must(t, err)
		page, err := s.ReadLog(t.Context(), LogCursor{}, 1000)
		must(t, err)
		last := page.Entries[len(page.Entries)-1]
		if last.Cursor != end {
			t.Errorf("the log ends at %v, what is read at %v", end, last.Cursor)
		}
		if page.Unsettled == (last.Kind == EventMessage && last.Seq == mls.Seq(sent)) {
			t.Errorf("unsettled is %t after message %d of %d", page.Unsettled, last.Seq, sent)
		}
		return page.Unsettled
	}
	if waits() {
		t.Error("the log waits for nobody")
	}
	for name, c := range map[string]struct {
		url      string
		prepared bool
		waits    bool
	}{
		"a neighbour's transaction":            {cluster.URL("neighbour"), false, false},
		"a neighbour's prepared transaction":   {cluster.URL("neighbour"), true, false},
		"a colleague's transaction":            {colleague, false, true},
		"a colleague's prepared transaction":   {colleague, true, true},
		"a transaction of the service's own":   {url, false, true},
		"a superuser's transaction":            {cluster.URL("app"), false, true},
		"a superuser's prepared transaction":   {cluster.URL("app"), true, true},
		"a superuser's transaction, elsewhere": {cluster.URL("postgres"), false, false},
	} {
		conn := dial(t, c.url)
		run(t, conn, "BEGIN")
		run(t, conn, "SELECT pg_current_xact_id()")
		if c.prepared {
			run(t, conn, "PREPARE TRANSACTION 'x'")
		}
		if got := waits(); got != c.waits {
			t.Errorf("the log waits for %s: %t", name, got)
		}
		if c.prepared {
			run(t, conn, "ROLLBACK PREPARED 'x'")
		} else {
			run(t, conn, "ROLLBACK")
		}
		if waits() {
			t.Errorf("the log still waits after %s", name)
		}
	}
}

func dial(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	must(t, err)
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, statement string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// exec runs statements past the store.
func exec(t *testing.T, s *Store, statements ...string) {
	t.Helper()
	pool := pgtest.Open(t, s.pool.Config().ConnString())
	for _, statement := range statements {
		if _, err := pool.Exec(t.Context(), statement); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
}
