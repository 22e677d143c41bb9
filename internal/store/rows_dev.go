//go:build mlsdev

package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// RowsLimit is how many rows of a table Rows returns, those written last.
const RowsLimit = 200

// TableRows is what is stored in a table.
type TableRows struct {
	// Count is how many rows the table has.
	Count int64 `json:"count"`
	// Columns are the names of its columns, in their order.
	Columns []string `json:"columns"`
	// Rows are those written last, first, at most RowsLimit. Bytes are {"bytes": length, "begins":
	// hex of the first 64}, or all of them in hex.
	Rows []json.RawMessage `json:"rows"`
}

// Rows returns what is stored, by table: everything but keys of the service's own. With whole,
// bytes are not cut short. It is how development shows what the service knows, so it leaves nothing
// out and names nothing by itself: a new table and a new column are there at once.
func (s *Store) Rows(ctx context.Context, whole bool) (map[string]*TableRows, error) {
	found := map[string]*TableRows{}
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		lists := map[string][]string{}
		rows, err := tx.Query(ctx, `
			SELECT c.relname, a.attname, a.atttypid = 'bytea'::regtype
			FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
			WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped
			  AND c.relname NOT IN ('event_log', 'goose_db_version')
			ORDER BY c.relname, a.attnum`)
		if err != nil {
			return err
		}
		var table, column string
		var isBytes bool
		_, err = pgx.ForEachRow(rows, []any{&table, &column, &isBytes}, func() error {
			t := found[table]
			if t == nil {
				t = &TableRows{Rows: []json.RawMessage{}}
				found[table] = t
			}
			t.Columns = append(t.Columns, column)
			lists[table] = append(lists[table], expression(column, isBytes, whole))
			return nil
		})
		if err != nil {
			return err
		}
		for name, t := range found {
			if err := t.read(ctx, tx, name, lists[name]); err != nil {
				return err
			}
		}
		return nil
	})
	return found, fail("read rows", err)
}

// expression is how a column is selected.
func expression(column string, isBytes, whole bool) string {
	name := pgx.Identifier{column}.Sanitize()
	switch {
	case !isBytes:
		return name
	case whole:
		return "encode(" + name + ", 'hex') AS " + name
	}
	return fmt.Sprintf("CASE WHEN %[1]s IS NOT NULL THEN json_build_object('bytes', octet_length(%[1]s), 'begins', encode(substring(%[1]s FOR 64), 'hex')) END AS %[1]s", name)
}

// read reads the rows of one table.
func (t *TableRows) read(ctx context.Context, tx pgx.Tx, name string, list []string) error {
	from := pgx.Identifier{name}.Sanitize()
	if err := tx.QueryRow(ctx, "SELECT count(*) FROM "+from).Scan(&t.Count); err != nil {
		return err
	}
	rows, err := tx.Query(ctx, fmt.Sprintf("SELECT row_to_json(r)::text FROM (SELECT %s FROM %s ORDER BY age(xmin), ctid DESC LIMIT %d) r", strings.Join(list, ", "), from, RowsLimit))
	if err != nil {
		return err
	}
	var row string
	_, err = pgx.ForEachRow(rows, []any{&row}, func() error {
		t.Rows = append(t.Rows, json.RawMessage(row))
		return nil
	})
	return err
}
