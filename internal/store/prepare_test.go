package store

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"mls-server/internal/pgtest"
)

// The database understands every statement of gen/db: sqlc's own analysis
// covers less than PostgreSQL's.
func TestEveryQueryPrepares(t *testing.T) {
	t.Parallel()
	pool := pgtest.Pool(t)
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	files, err := filepath.Glob("../gen/db/*.sql.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no generated queries: %v", err)
	}
	pattern := regexp.MustCompile("(?s)const (\\w+) = `(.*?)`")
	count := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range pattern.FindAllSubmatch(source, -1) {
			count++
			if _, err := conn.Conn().Prepare(t.Context(), string(match[1]), string(match[2])); err != nil {
				t.Errorf("%s: %v", match[1], err)
			}
		}
	}
	if count < 50 {
		t.Errorf("found %d queries only", count)
	}
}
