package pgtest_test

import (
	"fmt"
	"testing"

	"mls-server/internal/pgtest"
)

// Each test has a database of its own: the same row goes in everywhere.
func TestDatabasesAreApart(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			pool := pgtest.Pool(t)
			if _, err := pool.Exec(t.Context(), "INSERT INTO used_jtis (hash, expires_at) VALUES (sha256('x'), now())"); err != nil {
				t.Fatal(err)
			}
			var rows int
			if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM used_jtis").Scan(&rows); err != nil || rows != 1 {
				t.Fatalf("%d rows, %v", rows, err)
			}
		})
	}
}

func TestEmptyHasNoSchema(t *testing.T) {
	t.Parallel()
	pool := pgtest.Open(t, pgtest.NewEmpty(t))
	var tables int
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'").Scan(&tables); err != nil || tables != 0 {
		t.Fatalf("%d tables, %v", tables, err)
	}
}
