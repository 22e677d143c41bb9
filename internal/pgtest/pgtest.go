// Package pgtest gives each test a PostgreSQL database of its own, migrated
// and empty.
//
// PG_TEST_URL names a server to use; otherwise each test process starts a
// private one, which goes with it. The schema is made once, in a template
// that every test's database is a copy of, so a database costs some tens of
// milliseconds. Tests run in parallel without seeing each other.
//
// A test that has no database fails; it is never skipped. It must not be used
// outside tests.
package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver that migrations run through

	"mls-server/internal/pgcluster"
	"mls-server/migrations"
)

// URLVariable is the environment variable that names a server to use. Its
// role must be allowed to create databases. A template named after the
// schema's digest stays on that server for later runs.
const URLVariable = "PG_TEST_URL"

const setupTimeout = 2 * time.Minute

// server is the one PostgreSQL of a test process.
type server struct {
	admin    *pgxpool.Pool
	url      string // of any database of the server
	template string
	// held by one CREATE DATABASE at a time: the server serialises them
	// anyway, and a queue here keeps its connections free for the tests.
	creating sync.Mutex
}

// shared is started by the first test that asks. It is never stopped: it ends
// with the process, and a private server's files with it.
var shared = sync.OnceValues(start)

// New returns the URL of a fresh database that is dropped when the test ends.
func New(tb testing.TB) string {
	tb.Helper()
	return fresh(tb, true)
}

// NewEmpty is New without the schema, for tests of the migrations.
func NewEmpty(tb testing.TB) string {
	tb.Helper()
	return fresh(tb, false)
}

// Pool returns a pool of connections to a fresh database.
func Pool(tb testing.TB) *pgxpool.Pool {
	tb.Helper()
	return Open(tb, New(tb))
}

// Open returns a pool of connections to databaseURL that is closed when the test ends.
func Open(tb testing.TB, databaseURL string) *pgxpool.Pool {
	tb.Helper()
	pool, err := pgxpool.New(tb.Context(), databaseURL)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	tb.Cleanup(pool.Close)
	return pool
}

func fresh(tb testing.TB, migrated bool) string {
	tb.Helper()
	s, err := shared()
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	name := "mls_test_" + strings.ToLower(rand.Text()[:16])
	statement := "CREATE DATABASE " + name
	if migrated {
		statement += " TEMPLATE " + s.template
	}
	s.creating.Lock()
	_, err = s.admin.Exec(tb.Context(), statement)
	s.creating.Unlock()
	if err != nil {
		tb.Fatalf("pgtest: create a database: %v", err)
	}
	tb.Cleanup(func() {
		// The test's own context has ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
		defer cancel()
		if _, err := s.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			tb.Errorf("pgtest: drop the database: %v", err)
		}
	})
	databaseURL, err := withDatabase(s.url, name)
	if err != nil {
		tb.Fatalf("pgtest: %v", err)
	}
	return databaseURL
}

func start() (*server, error) {
	// No test's context: the server serves them all.
	ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
	defer cancel()
	s := &server{url: os.Getenv(URLVariable)} //nolint:forbidigo // a test has no configuration but its environment
	if s.url == "" {
		cluster, err := pgcluster.Start(ctx, pgcluster.Config{Settings: map[string]string{"max_connections": "400"}})
		if err != nil {
			return nil, err
		}
		s.url = cluster.URL("postgres")
	}
	config, err := pgxpool.ParseConfig(s.url)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", URLVariable, err)
	}
	config.MaxConns = 4
	if s.admin, err = pgxpool.NewWithConfig(context.WithoutCancel(ctx), config); err != nil {
		return nil, err
	}
	if err := s.makeTemplate(ctx); err != nil {
		s.admin.Close()
		return nil, err
	}
	return s, nil
}

// makeTemplate makes the template unless it is there. Several processes may
// share a server: one at a time makes it, and a half-made one is told by its
// name, since it gets its own only when it is complete.
func (s *server) makeTemplate(ctx context.Context) error {
	const lockKey = 0x6d6c7374706c // "mlstpl"
	s.template = "mls_template_" + migrations.Digest()
	conn, err := s.admin.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(lockKey)); err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	err = s.makeTemplateLocked(ctx, conn.Conn())
	_, unlockErr := conn.Exec(ctx, "SELECT pg_advisory_unlock($1)", int64(lockKey))
	return errors.Join(err, unlockErr)
}

func (s *server) makeTemplateLocked(ctx context.Context, conn *pgx.Conn) error {
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", s.template).Scan(&exists); err != nil {
		return fmt.Errorf("look for the template: %w", err)
	}
	if exists {
		return nil
	}
	unfinished := s.template + "_new"
	for _, statement := range []string{"DROP DATABASE IF EXISTS " + unfinished + " WITH (FORCE)", "CREATE DATABASE " + unfinished} {
		if _, err := conn.Exec(ctx, statement); err != nil {
			return fmt.Errorf("make the template: %w", err)
		}
	}
	if err := s.migrate(ctx, unfinished); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "ALTER DATABASE "+unfinished+" RENAME TO "+s.template); err != nil {
		return fmt.Errorf("make the template: %w", err)
	}
	return nil
}

func (s *server) migrate(ctx context.Context, database string) (err error) {
	databaseURL, err := withDatabase(s.url, database)
	if err != nil {
		return err
	}
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		return fmt.Errorf("open the template: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	provider, err := migrations.Provider(db, migrations.Files, nil)
	if err != nil {
		return err
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate the template: %w", err)
	}
	return nil
}

func withDatabase(databaseURL, name string) (string, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || !strings.HasPrefix(u.Scheme, "postgres") {
		return "", fmt.Errorf("%s: want a postgres:// URL", URLVariable)
	}
	u.Path = "/" + name
	return u.String(), nil
}
