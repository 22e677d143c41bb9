package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"path"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"mls-server/migrations"
)

// MigrationStatus compares the database's schema with the binary's.
type MigrationStatus struct {
	// Current is the version of the last applied migration, 0 when there is none.
	Current int64
	// Target is the version of the last migration in the binary.
	Target int64
	// Missing are the files of the migrations that are still to be applied, in their order.
	Missing []string
}

// Ready says that nothing is left to apply. A database that is ahead is ready
// too: migrations expand before they contract.
func (m MigrationStatus) Ready() bool { return m.Current >= m.Target }

// MigrationStatus reads the schema's version.
func (s *Store) MigrationStatus(ctx context.Context) (status MigrationStatus, err error) {
	m, err := s.newMigrator(migrator{files: migrations.Files})
	if err != nil {
		return status, err
	}
	defer func() { err = errors.Join(err, m.db.Close()) }()
	// goose would make its table to look into it; whoever only asks changes nothing.
	var begun bool
	if err := m.db.QueryRowContext(ctx, "SELECT to_regclass('goose_db_version') IS NOT NULL").Scan(&begun); err != nil {
		return status, fmt.Errorf("store: migrate: %w", err)
	}
	if !begun {
		for _, source := range m.provider.ListSources() {
			status.Target, status.Missing = source.Version, append(status.Missing, path.Base(source.Path))
		}
		return status, nil
	}
	if status.Current, status.Target, err = m.provider.GetVersions(ctx); err != nil {
		return status, fmt.Errorf("store: migrate: %w", err)
	}
	if status.Ready() {
		return status, nil
	}
	all, err := m.provider.Status(ctx)
	if err != nil {
		return status, fmt.Errorf("store: migrate: %w", err)
	}
	for _, one := range all {
		if one.State == goose.StatePending {
			status.Missing = append(status.Missing, path.Base(one.Source.Path))
		}
	}
	return status, nil
}

// Migrate applies what is missing. Any number of processes may do so at once,
// while servers are at work.
//
// A migration waits two seconds for a lock. What comes after it waits behind it
// that long, so it then gives up, lets the others pass, and tries again, for as
// long as ctx lasts. say, when not nil, is told in words what was applied and
// who is waited for; nothing in its texts comes from a user.
func (s *Store) Migrate(ctx context.Context, say func(text string)) (err error) {
	m, err := s.newMigrator(migrator{files: migrations.Files, say: say})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.db.Close()) }()
	return m.up(ctx)
}

const (
	// migrationLockTimeout is less than half of what a request waits for a lock,
	// so that a request behind a migration does not fail.
	migrationLockTimeout = 2 * time.Second
	// The pause between two tries grows from the first to the longest; a tenth of
	// it is random.
	firstMigrationPause   = time.Second
	longestMigrationPause = 5 * time.Second
	// migratorName is how PostgreSQL lists the connections of a migration.
	migratorName = "mls-server migrate"
	// lookAtBlockers is how often who holds the migration up is looked up.
	lookAtBlockers = 100 * time.Millisecond
)

// migrator applies migrations. It must not be used by two goroutines.
type migrator struct {
	files fs.FS
	// say may be nil.
	say func(string)
	// lockTimeout is migrationLockTimeout when it is 0.
	lockTimeout time.Duration

	db       *sql.DB
	provider *goose.Provider
}

// newMigrator opens connections with timeouts of their own: an index may take
// longer to build than a request may run.
func (s *Store) newMigrator(m migrator) (*migrator, error) {
	config := s.pool.Config().ConnConfig.Copy()
	config.Tracer = nil
	parameters := config.RuntimeParams
	parameters["application_name"] = migratorName
	parameters["statement_timeout"] = "0"
	parameters["idle_in_transaction_session_timeout"] = "0"
	parameters["lock_timeout"] = milliseconds(cmp.Or(m.lockTimeout, migrationLockTimeout))
	// A migration outside of a transaction may set its own (see CONTRIBUTING.md).
	reset := stdlib.OptionResetSession(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "RESET lock_timeout")
		return err
	})
	m.db = stdlib.OpenDB(*config, reset)
	if m.say == nil {
		m.say = func(string) {}
	}
	var err error
	m.provider, err = migrations.Provider(m.db, m.files, func() { m.say("another process is migrating; waiting for it") })
	if err != nil {
		return nil, errors.Join(fmt.Errorf("store: %w", err), m.db.Close())
	}
	return &m, nil
}

// up applies one migration after the other.
func (m *migrator) up(ctx context.Context) error {
	pause := firstMigrationPause
	for {
		blockers := m.watch(ctx)
		result, err := m.provider.UpByOne(ctx)
		held := blockers()
		switch {
		case errors.Is(err, goose.ErrNoNextVersion):
			return m.done(ctx)
		case err == nil:
			m.say(fmt.Sprintf("applied %s in %s", path.Base(result.Source.Path), result.Duration.Round(time.Millisecond)))
			pause = firstMigrationPause
		case !isCode(err, codeLockNotAvailable, codeDeadlock):
			return fmt.Errorf("store: migrate: %w", err)
		default:
			m.say(fmt.Sprintf("%s needs a lock that %s; trying again in %s", failed(err), held, pause))
			if err := sleep(ctx, pause+rand.N(pause/10)); err != nil { //nolint:gosec // spreads processes, no secret
				return fmt.Errorf("store: migrate: %w", err)
			}
			pause = min(2*pause, longestMigrationPause)
		}
	}
}

func (m *migrator) done(ctx context.Context) error {
	version, err := m.provider.GetDBVersion(ctx)
	if err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	m.say(fmt.Sprintf("the schema is up to date, at version %d", version))
	return nil
}

// failed is the name of the migration that an error is about.
func failed(err error) string {
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		return path.Base(partial.Failed.Source.Path)
	}
	return "the migration"
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// whoBlocks lists who holds what a connection of this database's migration waits
// for, the oldest transaction first. Process 0 is a prepared transaction.
const whoBlocks = `
SELECT DISTINCT h.pid, coalesce(nullif(b.application_name, ''), 'a session without a name'), coalesce(b.state, 'of another role'),
    coalesce(floor(extract(epoch FROM clock_timestamp() - b.xact_start))::bigint, 0)
FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS h (pid)
LEFT JOIN pg_stat_activity b ON b.pid = h.pid
WHERE w.application_name = $1 AND w.datname = current_database()
ORDER BY 4 DESC LIMIT 3`

// watch looks who holds the migration up until the result is called, which says
// who did last.
func (m *migrator) watch(ctx context.Context) func() string {
	ctx, cancel := context.WithCancel(ctx)
	last := make(chan string, 1)
	go func() {
		text := "another transaction holds"
		for sleep(ctx, lookAtBlockers) == nil {
			if now, err := m.blockers(ctx); err == nil && now != "" {
				text = now
			}
		}
		last <- text
	}()
	return func() string {
		cancel()
		return <-last
	}
}

// blockers describes who is waited for, "" for nobody.
func (m *migrator) blockers(ctx context.Context) (text string, err error) {
	rows, err := m.db.QueryContext(ctx, whoBlocks, migratorName)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var all []string
	for rows.Next() {
		var pid, seconds int64
		var name, state string
		if err := rows.Scan(&pid, &name, &state, &seconds); err != nil {
			return "", err
		}
		if pid == 0 {
			all = append(all, "a prepared transaction (see pg_prepared_xacts) holds")
			continue
		}
		all = append(all, fmt.Sprintf("process %d (%s, %s, in a transaction for %d s) holds", pid, name, state, seconds))
	}
	return strings.Join(all, " and "), rows.Err()
}
