package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"mls-server/internal/clock"
	"mls-server/internal/gen/db"
	"mls-server/internal/netopt"
)

// Config says which database to use, and how.
type Config struct {
	// URL is PostgreSQL's connection string.
	URL string
	// MaxConns bounds the pool; 0 means 16.
	MaxConns int32
	// MinConns are kept open while idle; 0 means none.
	MinConns int32
	// StatementTimeout ends a statement that runs longer; 0 means 10 s.
	StatementTimeout time.Duration
	// LockTimeout ends a wait for a lock; 0 means 5 s.
	LockTimeout time.Duration
	// IdleInTransactionTimeout ends a transaction that nobody drives; 0 means 15 s.
	IdleInTransactionTimeout time.Duration
	// Observer is told of every statement and retry; nil: nobody.
	Observer QueryObserver
	// Clock times statements; nil means clock.System.
	Clock clock.Clock
	// Committed, when not nil, is called after each commit that may have written
	// events: the hint for those who read the log. It must not block.
	Committed func()
	// Stored, when not nil, is called for each message that was stored, after its
	// commit, with the size of its bytes: for counters. It must not block.
	Stored func(kind MessageKind, size int)
}

const (
	defaultMaxConns         = 16
	defaultStatementTimeout = 10 * time.Second
	defaultLockTimeout      = 5 * time.Second
	defaultIdleTimeout      = 15 * time.Second
	// connectTimeout is how long a connection may take to open, unless the URL says
	// otherwise (connect_timeout).
	connectTimeout = 5 * time.Second
	// unackedTimeout is how long a request to the database may wait for its
	// acknowledgement by the network before the connection counts as broken.
	unackedTimeout = 15 * time.Second
)

// Store is the database. It is safe for concurrent use.
type Store struct {
	reader
	pool      *pgxpool.Pool
	large     *db.Queries // over largeArguments
	observer  QueryObserver
	clock     clock.Clock
	committed func()
	stored    func(MessageKind, int)
	// begun is when the log's generation began, in seconds since 1970.
	begun *atomic.Int64
	// direct says that the database was seen to be suitable without asking a pooler again.
	direct *atomic.Bool
}

// reader is the reads that both a Store and a Tx have.
type reader struct {
	q *db.Queries
}

// New connects lazily: it fails on a URL that cannot be parsed, not on a
// database that is away (see Ping).
func New(ctx context.Context, cfg Config) (*Store, error) {
	config, err := pgxpool.ParseConfig(cfg.URL)
	if err != nil {
		return nil, errBadURL // pgx's own error repeats parts of the URL, which holds a password
	}
	s := &Store{begun: new(atomic.Int64), direct: new(atomic.Bool), observer: cfg.Observer, clock: cfg.Clock, committed: cfg.Committed, stored: cfg.Stored}
	if s.observer == nil {
		s.observer = noObserver{}
	}
	if s.clock == nil {
		s.clock = clock.System
	}
	if s.committed == nil {
		s.committed = func() {}
	}
	if s.stored == nil {
		s.stored = func(MessageKind, int) {}
	}
	config.MaxConns = cmp.Or(cfg.MaxConns, defaultMaxConns)
	config.MinConns = cfg.MinConns
	trace := &tracer{observer: s.observer, clock: s.clock}
	config.ConnConfig.Tracer = trace
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	dialer := net.Dialer{Timeout: config.ConnConfig.ConnectTimeout, Control: netopt.Unacked(unackedTimeout)}
	config.ConnConfig.DialFunc = dialer.DialContext
	config.AfterConnect = s.prepareConn
	parameters := config.ConnConfig.RuntimeParams
	parameters["application_name"] = "mls-server"
	parameters["timezone"] = "UTC"
	parameters["statement_timeout"] = milliseconds(cmp.Or(cfg.StatementTimeout, defaultStatementTimeout))
	parameters["lock_timeout"] = milliseconds(cmp.Or(cfg.LockTimeout, defaultLockTimeout))
	// Retries and compare-and-set are made for this level, also of single statements, whatever the
	// database's default is.
	parameters["default_transaction_isolation"] = "read committed"
	// A statement whose arguments may turn a condition off looks cheaper with
	// known arguments, so that PostgreSQL would plan it anew for every call.
	parameters["plan_cache_mode"] = "force_generic_plan"
	parameters["idle_in_transaction_session_timeout"] = milliseconds(cmp.Or(cfg.IdleInTransactionTimeout, defaultIdleTimeout))
	s.pool, err = pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	s.q = db.New(s.pool)
	s.large = db.New(largeArguments{DBTX: s.pool, pool: s.pool, tracer: trace})
	return s, nil
}

var errBadURL = errors.New("store: DATABASE_URL is not a PostgreSQL connection string")

// PoolState is what the pool is at: connections in use, idle, and at most; how often a statement
// had to wait for one, and for how long altogether.
func (s *Store) PoolState() (used, idle, most int32, waits int64, waited time.Duration) {
	state := s.pool.Stat()
	return state.AcquiredConns(), state.IdleConns(), state.MaxConns(), state.EmptyAcquireCount(), state.EmptyAcquireWaitTime()
}

// Close closes the pool, after the statements under way.
func (s *Store) Close() { s.pool.Close() }

// Ping asks the database for a sign of life.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.pool.Ping(ctx); err != nil {
		return fmt.Errorf("store: ping: %w", err)
	}
	return nil
}

// prepareConn runs on every new connection, before its first use.
func (s *Store) prepareConn(ctx context.Context, conn *pgx.Conn) error {
	// Times are UTC wherever they come from.
	conn.TypeMap().RegisterType(&pgtype.Type{
		Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
	})
	return s.joinGeneration(ctx, conn)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
