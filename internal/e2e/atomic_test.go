package e2e_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
)

// hangUp is a trigger's function that loses the connection, as a crash of the server would.
const hangUp = "CREATE FUNCTION hang_up() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$"

// hangUpAt has hangUp run when a statement writes to a table.
func hangUpAt(table string) string {
	return "CREATE TRIGGER hang_up BEFORE INSERT OR UPDATE OR DELETE ON " + table + " FOR EACH STATEMENT EXECUTE FUNCTION hang_up()"
}

// note is one that says which table a transaction writes to.
const note = `CREATE TABLE written (xid text, name text);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO written VALUES (txid_current()::text, TG_TABLE_NAME); RETURN NULL; END $$`

// lostAtEachTable loses the connection of a request at each of the tables that it writes to, in
// turn. Nothing of it may stay. Then the same request goes through, and the tables are all that its
// transaction has written to.
func lostAtEachTable(t *testing.T, s *e2e.Server, request func() e2e.Answer, tables ...string) {
	t.Helper()
	change(t, s, hangUp)
	before := rowsIn(t, s, tables)
	for _, table := range tables {
		change(t, s, hangUpAt(table))
		request().Want(t, outage, "NotEnoughResources")
		change(t, s, "DROP TRIGGER hang_up ON "+table)
		if rowsIn(t, s, tables) != before {
			t.Fatalf("a connection that was lost at %s left something behind", table)
		}
	}
	all := rowsOf(t, s, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
	change(t, s, note)
	for _, table := range all {
		change(t, s, "CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON "+table[0]+" FOR EACH STATEMENT EXECUTE FUNCTION note()")
	}
	request().OK(t)
	var wrote []string
	for _, row := range rowsOf(t, s, "SELECT DISTINCT name FROM written WHERE xid IN (SELECT xid FROM written WHERE name = $1)", tables[0]) {
		wrote = append(wrote, row[0])
	}
	require.ElementsMatch(t, tables, wrote, "what the request writes to")
}

// rowsIn is all that the tables hold.
func rowsIn(t *testing.T, s *e2e.Server, tables []string) string {
	t.Helper()
	var all strings.Builder
	for _, table := range tables {
		for _, row := range rowsOf(t, s, "SELECT t::text FROM "+table+" t ORDER BY 1") {
			all.WriteString(table + row[0] + "\n")
		}
	}
	return all.String()
}
