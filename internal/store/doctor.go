package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/gen/db"
)

// Database is what an operator should know of a database.
type Database struct {
	// Version is PostgreSQL's, such as "15.20 (Debian 15.20-0+deb12u1)".
	Version string
	// Standby says that nothing can be written.
	Standby bool
	// Superuser and Owner are the role's: it should own the database and be nothing more.
	Superuser, Owner bool
	// Fsync, SynchronousCommit, CommitTimestamps, LogErrorVerbosity, LogStatement and ArchiveMode
	// are settings as SHOW prints them, as sessions of the role get them.
	Fsync, SynchronousCommit, CommitTimestamps, LogErrorVerbosity, LogStatement, ArchiveMode string
	// LogsSlow says that statements are logged by how long they take, LogsParameters that logged
	// ones come with their parameters.
	LogsSlow, LogsParameters bool
	// EndsIdle says that transactions which nobody drives are ended.
	EndsIdle bool
	// Prepared is the number of prepared transactions that nobody has ended.
	Prepared int
	// Connections is how many may be open at once, those for superusers left out.
	Connections int
	// Behind is by how much the database's clock is behind ours, negative when it is ahead; it is
	// exact to half of the time that the question took.
	Behind time.Duration
}

// Describe asks the database about itself over a connection of its own, with none of the settings
// that the server brings along.
func (s *Store) Describe(ctx context.Context) (d Database, err error) {
	config := s.pool.Config().ConnConfig.Copy()
	config.Tracer = nil
	config.RuntimeParams = map[string]string{"application_name": "mls-server doctor"}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return d, fmt.Errorf("store: connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	asked := s.clock.Now()
	row, err := db.New(conn).DescribeDatabase(ctx)
	if err != nil {
		return d, fail("describe the database", err)
	}
	now := s.clock.Now()
	return Database{
		Version: row.Version, Standby: row.Standby, Superuser: row.Superuser, Owner: row.Owner,
		Fsync: row.Fsync, SynchronousCommit: row.SynchronousCommit, CommitTimestamps: row.CommitTimestamps,
		LogErrorVerbosity: row.LogErrorVerbosity, LogStatement: row.LogStatement, ArchiveMode: row.ArchiveMode,
		LogsSlow: row.LogsSlowStatements, LogsParameters: row.LogsParameters, EndsIdle: row.EndsIdleTransactions,
		Prepared: int(row.PreparedTransactions), Connections: int(row.Connections),
		Behind: asked.Add(now.Sub(asked) / 2).Sub(row.Now),
	}, nil
}
