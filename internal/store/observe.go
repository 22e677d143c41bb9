package store

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/clock"
)

// QueryObserver is told of what the store does. Names are a closed set: those
// of the queries, "begin", "commit", "rollback", "savepoint" and "other".
type QueryObserver interface {
	// ObserveQuery is called after each statement. err is nil or what the
	// driver said; its text must not be logged (I9).
	ObserveQuery(name string, took time.Duration, err error)
	// ObserveRetry is called before a transaction or a send is run again, after
	// a deadlock, a serialisation failure or a twin that was faster.
	ObserveRetry()
}

type noObserver struct{}

func (noObserver) ObserveQuery(string, time.Duration, error) {}
func (noObserver) ObserveRetry()                             {}

// Counter counts the statements that were run under a context.
type Counter struct{ n atomic.Int64 }

// Statements is the count so far, transaction control included.
func (c *Counter) Statements() int64 { return c.n.Load() }

type counterKey struct{}

// WithCounter returns a context whose statements are counted, for tests of how
// many a request costs.
func WithCounter(ctx context.Context) (context.Context, *Counter) {
	c := &Counter{}
	return context.WithValue(ctx, counterKey{}, c), c
}

// tracer feeds an observer and the counters.
type tracer struct {
	observer QueryObserver
	clock    clock.Clock
}

type traceKey struct{}

type traced struct {
	name  string
	start time.Time
}

func (t *tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if c, ok := ctx.Value(counterKey{}).(*Counter); ok {
		c.n.Add(1)
	}
	return context.WithValue(ctx, traceKey{}, &traced{name: queryName(data.SQL), start: t.clock.Now()})
}

func (t *tracer) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if q, ok := ctx.Value(traceKey{}).(*traced); ok {
		t.observer.ObserveQuery(q.name, t.clock.Now().Sub(q.start), data.Err)
	}
}

// queryName reads the name that sqlc puts into a statement's first line.
func queryName(sql string) string {
	if rest, ok := strings.CutPrefix(sql, "-- name: "); ok {
		name, _, _ := strings.Cut(rest, " ")
		return name
	}
	for _, name := range []string{"begin", "commit", "rollback", "savepoint", "release savepoint"} {
		if strings.HasPrefix(sql, name) {
			return strings.TrimPrefix(name, "release ")
		}
	}
	return "other"
}
