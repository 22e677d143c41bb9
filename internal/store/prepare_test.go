package store

import (
	"testing"
)

// The database understands every statement of gen/db: sqlc's own analysis
// covers less than PostgreSQL's.
func TestEveryQueryPrepares(t *testing.T) {
	t.Parallel()
	s := open(t, 1)
	conn, err := s.pool.Acquire(t.Context())
	must(t, err)
	defer conn.Release()
	queries := generated(t)
	for name, sql := range queries {
		if _, err := conn.Conn().Prepare(t.Context(), name, sql); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if len(queries) < 50 {
		t.Errorf("found %d queries only", len(queries))
	}
}
