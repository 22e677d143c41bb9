package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"mls-server/internal/gen/db"
)

// largeArgument is the size in bytes from which a byte string is worth a path of
// its own to the database.
const largeArgument = 256 << 10

// largeArguments runs statements of one row whose byte strings are large. pgx
// copies arguments twice, into a buffer of its own and from there into the frame
// that it sends; here they go into the frame alone. The statement is parsed anew
// for each call, in the same round trip.
type largeArguments struct {
	db.DBTX

	pool   *pgxpool.Pool
	tracer *tracer
}

// QueryRow implements db.DBTX. The row must be scanned: that frees the connection.
func (l largeArguments) QueryRow(ctx context.Context, sql string, args ...any) pgx.Row {
	row := &largeRow{tracer: l.tracer}
	values, formats := make([][]byte, len(args)), make([]int16, len(args))
	for i, arg := range args {
		if values[i], formats[i], row.err = argument(arg); row.err != nil {
			return row
		}
	}
	if row.conn, row.err = l.pool.Acquire(ctx); row.err != nil {
		return row
	}
	row.ctx = l.tracer.TraceQueryStart(ctx, row.conn.Conn(), pgx.TraceQueryStartData{SQL: sql})
	row.result = row.conn.Conn().PgConn().ExecParams(ctx, sql, values, nil, formats, nil)
	return row
}

// largeRow is the row that a statement will return.
type largeRow struct {
	ctx    context.Context //nolint:containedctx // the tracer's, until Scan
	tracer *tracer
	conn   *pgxpool.Conn
	result *pgconn.ResultReader
	err    error
}

// Scan reads the row and frees the connection.
func (r *largeRow) Scan(dest ...any) error {
	if r.conn != nil {
		defer r.conn.Release()
	}
	if r.err != nil {
		return r.err // there was no statement
	}
	read := r.result.Read()
	r.tracer.TraceQueryEnd(r.ctx, r.conn.Conn(), pgx.TraceQueryEndData{Err: read.Err})
	switch {
	case read.Err != nil:
		return read.Err
	case len(read.Rows) == 0:
		return pgx.ErrNoRows
	}
	return pgx.ScanRow(r.conn.Conn().TypeMap(), read.FieldDescriptions, read.Rows[0], dest...)
}

// argument encodes what sqlc's parameters of such statements are made of: byte
// strings as they are, all else as text, whose type the statement's casts give.
func argument(v any) (value []byte, format int16, err error) {
	switch v := v.(type) {
	case []byte:
		return v, pgtype.BinaryFormatCode, nil
	case string:
		return []byte(v), pgtype.TextFormatCode, nil
	case int64:
		return strconv.AppendInt(nil, v, 10), pgtype.TextFormatCode, nil
	case *int64:
		if v == nil {
			return nil, pgtype.TextFormatCode, nil
		}
		return strconv.AppendInt(nil, *v, 10), pgtype.TextFormatCode, nil
	case time.Time:
		return v.UTC().AppendFormat(nil, time.RFC3339Nano), pgtype.TextFormatCode, nil
	}
	return nil, 0, fmt.Errorf("store: no encoding for an argument of type %T", v)
}
