package app

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"mls-server/internal/pgtest"
)

// docs/scaling.md names every table with the keys that stand in the way of its
// distribution, and every query once.
func TestScalingDocument(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../docs/scaling.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)

	pool := pgtest.Pool(t)
	rows, err := pool.Query(t.Context(), `
		SELECT c.relname, i.relname,
		       (SELECT array_agg(a.attname::text) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY (x.indkey::smallint[]))
		FROM pg_class c
		JOIN pg_index x ON x.indrelid = c.oid AND x.indisunique AND x.indpred IS NULL
		JOIN pg_class i ON i.oid = x.indexrelid
		WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND c.relname NOT LIKE 'goose%'
		ORDER BY 1, 2`)
	if err != nil {
		t.Fatal(err)
	}
	unique := map[string]map[string][]string{} // table, index, columns
	for rows.Next() {
		var table, index string
		var columns []string
		if err := rows.Scan(&table, &index, &columns); err != nil {
			t.Fatal(err)
		}
		if unique[table] == nil {
			unique[table] = map[string][]string{}
		}
		unique[table][index] = columns
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	kind := regexp.MustCompile(`(?m)^\| ([a-z_]+) \| (distributed|reference|local) \| ([a-z_]*) ?\| ([a-z_, ]+) \|$`)
	for _, row := range kind.FindAllStringSubmatch(text, -1) {
		table, column, listed := row[1], row[3], strings.Split(row[4], ", ")
		indexes, exists := unique[table]
		if !exists {
			t.Errorf("there is no table %s", table)
		}
		delete(unique, table)
		want := []string{}
		for name, columns := range indexes {
			if row[2] == "distributed" && !slices.Contains(columns, column) {
				want = append(want, name)
			}
		}
		if slices.Sort(want); len(want) == 0 {
			want = []string{"none"}
		}
		if slices.Sort(listed); !slices.Equal(listed, want) {
			t.Errorf("%s: keys %v, the document says %v", table, want, listed)
		}
	}
	for table := range unique {
		t.Errorf("table %s is not in the document", table)
	}

	_, classes, _ := strings.Cut(text, "### What changes in each query")
	named := map[string]int{}
	for line := range strings.Lines(classes) {
		if strings.HasPrefix(line, "> ") {
			for _, name := range regexp.MustCompile("`([A-Za-z]+)`").FindAllStringSubmatch(line, -1) {
				named[name[1]]++
			}
		}
	}
	files, err := filepath.Glob("../../queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatal("no queries")
	}
	for _, file := range files {
		sql, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`(?m)^-- name: ([A-Za-z]+) `).FindAllStringSubmatch(string(sql), -1) {
			if named[name[1]] != 1 {
				t.Errorf("query %s is named %d times", name[1], named[name[1]])
			}
			delete(named, name[1])
		}
	}
	for name := range named {
		t.Errorf("there is no query %s", name)
	}
}
