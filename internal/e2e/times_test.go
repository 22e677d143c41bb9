package e2e_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
)

// timesQuery lists the columns of all schemas that hold times of day.
const timesQuery = `SELECT c.oid::regclass::text, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	WHERE c.relkind IN ('r', 'm', 'f', 'p') AND c.relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
	  AND a.atttypid IN ('timestamptz'::regtype, 'timestamp'::regtype, 'time'::regtype, 'timetz'::regtype, 'interval'::regtype) ORDER BY 1, 2`

// timesToTheDay are the columns whose times are kept to the day: nothing needs them finer, and rows
// that are written beside a message would else tell when it came.
var timesToTheDay = map[string]bool{
	"idempotency_keys.created_at": true,
	"key_packages.claimed_at":     true,
	"key_packages.consumed_at":    true,
	"key_packages.created_at":     true,
	"user_devices.created_at":     true,
}

// timesOfOperators are times that no request writes.
var timesOfOperators = map[string]string{
	"goose_db_version.tstamp": "when the schema was migrated",
}

// coarseTimes checks that no table of a server that has been through everything holds a time finer
// than two seconds (I8), whatever the time is of.
func coarseTimes(t *testing.T, s *e2e.Server) {
	t.Helper()
	columns := rowsOf(t, s, timesQuery)
	require.Greater(t, len(columns), 20)
	for _, c := range columns {
		name := c[0] + "." + c[1]
		if timesOfOperators[name] != "" {
			continue
		}
		grid := "2 seconds"
		if timesToTheDay[name] {
			grid = "1 day"
		}
		assert.Empty(t, rowsOf(t, s, "SELECT "+c[1]+"::text FROM "+c[0]+" WHERE "+c[1]+" <> date_bin('"+grid+"', "+c[1]+", '2000-01-01 00:00:00+00') LIMIT 3"),
			"%s is finer than %s", name, grid)
	}
	for name := range timesToTheDay {
		assert.Contains(t, columnNames(columns), name)
	}
}

func columnNames(columns [][]string) (names []string) {
	for _, c := range columns {
		names = append(names, c[0]+"."+c[1])
	}
	return names
}
