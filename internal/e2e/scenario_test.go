package e2e_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"mls-server/internal/e2e"
	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
	"mls-server/internal/pgtest"
)

// newClient makes the keys of a device that is not registered yet.
func newClient(u *e2e.User) *mlstest.Client {
	return mlstest.NewClient(u.DID, "", mls.SuiteX25519AES128)
}

// rowsOf reads the database past the server; values come as text.
func rowsOf(t *testing.T, s *e2e.Server, sql string, args ...any) [][]string {
	t.Helper()
	pool := pgtest.Open(t, s.DatabaseURL)
	defer pool.Close() // a test may ask often
	rows, err := pool.Query(t.Context(), sql, args...)
	require.NoError(t, err)
	defer rows.Close()
	var all [][]string
	for rows.Next() {
		values, err := rows.Values()
		require.NoError(t, err)
		row := make([]string, len(values))
		for i, v := range values {
			row[i] = fmt.Sprint(v)
		}
		all = append(all, row)
	}
	require.NoError(t, rows.Err(), sql)
	return all
}
