package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
)

// minVersion is the oldest PostgreSQL that the server works with.
const minVersion = 15

// ErrUnsuitable says that the server cannot work with the database, however long it waits.
var ErrUnsuitable = errors.New("unsuitable database")

// unsuitable says why.
type unsuitable string

func (u unsuitable) Error() string { return string(u) }
func (unsuitable) Unwrap() error   { return ErrUnsuitable }

// ErrTooOld says that the database is an older PostgreSQL than the server works with.
const ErrTooOld = unsuitable("PostgreSQL 15 or later is needed")

// ErrPooled says that a pooler gives each transaction another connection, so that prepared
// statements and locks of a session get lost.
const ErrPooled = unsuitable("a pooler gives each transaction another connection; it has to keep one for each session (OPERATIONS.md, PgBouncer)")

// CheckSuitable returns ErrUnsuitable, as ErrTooOld or ErrPooled, when the server cannot work with
// the database, or why it could not be asked.
func (s *Store) CheckSuitable(ctx context.Context) error {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("store: connect: %w", err)
	}
	defer conn.Release()
	if err := checkVersion(conn.Conn().PgConn().ParameterStatus("server_version")); err != nil || s.direct.Load() {
		return err
	}
	pid, err := backend(ctx, conn.Conn())
	if err != nil {
		return err
	}
	// A pooler answers for the server, and names a process of its own making.
	if pid != conn.Conn().PgConn().PID() {
		if err := s.checkPooler(ctx); err != nil {
			return err
		}
	}
	s.direct.Store(true)
	return nil
}

// checkVersion judges a version such as "15.20 (Debian 15.20-0+deb12u1)" or "16beta1".
func checkVersion(version string) error {
	major := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if major < 0 {
		major = len(version)
	}
	if n, err := strconv.Atoi(version[:major]); err == nil && n < minVersion {
		return fmt.Errorf("%w: this is %s", ErrTooOld, version)
	}
	return nil
}

// others is how many transactions are open while a session is asked again where it is.
const others = 3

// checkPooler finds out whether a session stays with its connection when others come in between:
// their transactions get the one that it gave back, if it gave any back.
func (s *Store) checkPooler(ctx context.Context) (err error) {
	var conns []*pgx.Conn
	defer func() {
		for _, conn := range conns {
			err = errors.Join(err, conn.Close(ctx))
		}
	}()
	for range 1 + others {
		conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
		if err != nil {
			return fmt.Errorf("store: connect: %w", err)
		}
		conns = append(conns, conn)
	}
	before, err := backend(ctx, conns[0])
	if err != nil {
		return err
	}
	for _, conn := range conns[1:] {
		if _, err := conn.Exec(ctx, "BEGIN", pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("store: ask a pooler: %w", err)
		}
		if _, err := backend(ctx, conn); err != nil {
			return err
		}
	}
	after, err := backend(ctx, conns[0])
	if err == nil && before != after {
		err = ErrPooled
	}
	return err
}

// backend is the process that serves a connection.
func backend(ctx context.Context, conn *pgx.Conn) (pid uint32, err error) {
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&pid); err != nil {
		return 0, fmt.Errorf("store: ask for a connection's process: %w", err)
	}
	return pid, nil
}
