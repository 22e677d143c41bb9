package store

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/migrations"
)

// with is the binary's migrations and more, as a next release would have them.
func with(t *testing.T, more map[string]string) fs.FS {
	t.Helper()
	files := fstest.MapFS{}
	names, err := fs.Glob(migrations.Files, "*.sql")
	must(t, err)
	for _, name := range names {
		data, err := migrations.Files.ReadFile(name)
		must(t, err)
		files[name] = &fstest.MapFile{Data: data}
	}
	for name, text := range more {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

// migration is one run of the migrator and what it says.
type migration struct {
	said chan string
	end  chan error
}

func migrate(t *testing.T, s *Store, m migrator) *migration {
	t.Helper()
	run := &migration{said: make(chan string, 100), end: make(chan error, 1)}
	m.say = func(text string) { run.said <- text }
	made, err := s.newMigrator(m)
	must(t, err)
	go func() {
		err := made.up(t.Context())
		run.end <- errors.Join(err, made.db.Close())
	}()
	return run
}

// says waits until something is said that matches.
func (m *migration) says(t *testing.T, pattern string) {
	t.Helper()
	want := regexp.MustCompile(pattern)
	late := time.After(time.Minute)
	for {
		select {
		case text := <-m.said:
			if want.MatchString(text) {
				return
			}
		case err := <-m.end:
			t.Fatalf("the migration ended before it said %q: %v", pattern, err)
		case <-late:
			t.Fatalf("the migration does not say %q", pattern)
		}
	}
}

// ends waits for the end of the migration, which must be good.
func (m *migration) ends(t *testing.T) {
	t.Helper()
	select {
	case err := <-m.end:
		must(t, err)
	case <-time.After(time.Minute):
		t.Fatal("the migration does not end")
	}
}

// server is a store with the timeouts that a server has.
func server(t *testing.T, url string) *Store {
	t.Helper()
	s, err := New(t.Context(), Config{URL: url})
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

// load is servers at work: each sends and reads in one conversation, again and again.
type load struct {
	served  chan struct{}
	stopped chan struct{}
	group   sync.WaitGroup
	mu      sync.Mutex
	faults  []error
}

func startLoad(t *testing.T, convo mls.ConvoID, servers ...*Store) *load {
	t.Helper()
	stop := make(chan struct{})
	l := &load{stopped: stop, served: make(chan struct{}, 1)}
	for _, s := range servers {
		for range 4 {
			l.group.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					_, err := s.SendMessage(t.Context(), message(convo, alice, "hello"))
					if err == nil {
						_, err = s.RequireMember(t.Context(), key(convo), bob)
					}
					if err != nil {
						l.mu.Lock()
						l.faults = append(l.faults, err)
						l.mu.Unlock()
					}
					select {
					case l.served <- struct{}{}:
					default:
					}
				}
			})
		}
	}
	l.goesOn(t)
	return l
}

// goesOn waits until a good many more requests have been served.
func (l *load) goesOn(t *testing.T) {
	t.Helper()
	late := time.After(time.Minute)
	for range 40 {
		select {
		case <-l.served:
		case <-late:
			t.Fatal("requests are not served")
		}
	}
}

// stop ends the load and returns what failed.
func (l *load) stop() error {
	close(l.stopped)
	l.group.Wait()
	return errors.Join(l.faults...)
}

// dump opens a transaction that has read conversations, as pg_dump does with every table.
func dump(t *testing.T, url string) pgx.Tx {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url+"&application_name=pg_dump")
	must(t, err)
	t.Cleanup(func() { must(t, conn.Close(context.WithoutCancel(t.Context()))) })
	tx, err := conn.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	must(t, err)
	var n int
	must(t, tx.QueryRow(t.Context(), "SELECT count(*) FROM conversations").Scan(&n))
	return tx
}

// TestMigrationLetsRequestsPass: a migration that a reader is in the way of holds no request
// up for longer than it may wait for its lock, says who it waits for, and ends by itself once
// the reader is gone. Without a bound of its own every request behind it would fail.
func TestMigrationLetsRequestsPass(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	old, other := server(t, url), server(t, url)
	convo := newConvo(t, old, alice, bob)
	work := startLoad(t, convo, old, other)
	holder := dump(t, url)
	run := migrate(t, old, migrator{files: with(t, map[string]string{
		"00900_next.sql": "-- +goose Up\nALTER TABLE conversations ADD COLUMN next integer;\n-- +goose Down\nALTER TABLE conversations DROP COLUMN next;\n",
	})})
	waits := `^00900_next\.sql needs a lock that process \d+ \(pg_dump, idle in transaction, in a transaction for \d+ s\) holds; trying again in \ds$`
	for range 2 {
		run.says(t, waits)
		work.goesOn(t)
	}
	must(t, holder.Rollback(t.Context()))
	run.says(t, `^applied 00900_next\.sql in `)
	run.says(t, `^the schema is up to date, at version 900$`)
	run.ends(t)
	// The servers of before work on the schema of after, and so does a new one.
	next := server(t, url)
	after := startLoad(t, convo, next)
	work.goesOn(t)
	must(t, after.stop())
	must(t, work.stop())
}

// TestMigrationsOfTwoProcesses: the second waits for the first, says so, and finds everything done.
func TestMigrationsOfTwoProcesses(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := connect(t, url, 4)
	files := with(t, map[string]string{"00900_next.sql": "-- +goose Up\nALTER TABLE conversations ADD COLUMN next integer;\n"})
	holder := dump(t, url)
	// The first waits for its lock for as long as the test needs.
	first := migrate(t, s, migrator{files: files, lockTimeout: time.Minute})
	second := migrate(t, s, migrator{files: files})
	waiting := `^another process is migrating; waiting for it$`
	select {
	case text := <-second.said:
		if !regexp.MustCompile(waiting).MatchString(text) {
			t.Fatal(text)
		}
	case text := <-first.said: // it was the second one
		if !regexp.MustCompile(waiting).MatchString(text) {
			t.Fatal(text)
		}
	}
	must(t, holder.Rollback(t.Context()))
	first.ends(t)
	second.ends(t)
	if n := one[int64](t, s, "SELECT count(*) FROM goose_db_version WHERE version_id = 900"); n != 1 {
		t.Errorf("applied %d times", n)
	}
}

// concurrently is how CONTRIBUTING.md has an index built on a table that is in use.
const concurrently = `-- +goose NO TRANSACTION
-- +goose Up
SET lock_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS messages_next_idx;
CREATE INDEX CONCURRENTLY messages_next_idx ON messages (epoch);
-- +goose Down
DROP INDEX CONCURRENTLY messages_next_idx;
`

// TestIndexIsBuiltBesideRequests: an index that is built for longer, because a reader is in the
// way, holds no request up; a build that was cut off is begun anew.
func TestIndexIsBuiltBesideRequests(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := server(t, url)
	convo := newConvo(t, s, alice, bob)
	work := startLoad(t, convo, s)
	holder := dump(t, url)
	run := migrate(t, s, migrator{files: with(t, map[string]string{"00900_next.sql": concurrently}), lockTimeout: 10 * time.Millisecond})
	built := func() string {
		return one[string](t, s, `SELECT coalesce(string_agg(CASE WHEN i.indisvalid THEN 'valid' ELSE 'invalid' END, ' '), 'none')
			FROM pg_index i WHERE i.indexrelid = to_regclass('messages_next_idx')`)
	}
	waitUntil(t, "the index is being built", func() bool {
		return built() == "invalid" && one[bool](t, s, `SELECT EXISTS (SELECT FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = $1 AND wait_event_type = 'Lock')`, migratorName)
	})
	work.goesOn(t)
	// Cut it off, as a crash would: what is left must not be in the way of the next try.
	one[bool](t, s, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = $1 AND wait_event_type = 'Lock'`, migratorName)
	if err := <-run.end; err == nil {
		t.Error("a build that was cut off counts as done")
	}
	// It waited all the time, instead of beginning anew again and again.
	if len(run.said) > 0 {
		t.Errorf("it said %q", <-run.said)
	}
	if got := built(); got != "invalid" {
		t.Errorf("the index is %s", got)
	}
	again := migrate(t, s, migrator{files: with(t, map[string]string{"00900_next.sql": concurrently})})
	work.goesOn(t)
	must(t, holder.Rollback(t.Context()))
	again.ends(t)
	if got := built(); got != "valid" {
		t.Errorf("the index is %s", got)
	}
	must(t, work.stop())
}

func waitUntil(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for late := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal("it never came to this: " + what)
		}
	}
}

// TestMigrationFaultsAreNotRepeated: what no lock is the reason of ends the run.
func TestMigrationFaultsAreNotRepeated(t *testing.T) {
	t.Parallel()
	s := open(t, 2)
	run := migrate(t, s, migrator{files: with(t, map[string]string{"00900_next.sql": "-- +goose Up\nALTER TABLE nothing ADD COLUMN next integer;\n"})})
	if err := <-run.end; err == nil || !strings.Contains(err.Error(), "00900") && !strings.Contains(err.Error(), "900") {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Migrate(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that is called off ends with %v", err)
	}
}
