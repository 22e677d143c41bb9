package migrations

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// firstRuled is the first migration that meets tables with rows in them.
const firstRuled = "00008"

var (
	createTable = regexp.MustCompile(`(?i)CREATE TABLE (\w+)`)
	createIndex = regexp.MustCompile(`(?i)CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?(?:IF NOT EXISTS )?(\w+)\s+ON (\w+)`)
)

// problems says how a migration could hold up servers that are at work.
func problems(text string) []string {
	up, _, _ := strings.Cut(text, "-- +goose Down")
	made := map[string]bool{}
	for _, m := range createTable.FindAllStringSubmatch(up, -1) {
		made[m[1]] = true
	}
	var out []string
	for _, m := range createIndex.FindAllStringSubmatch(up, -1) {
		concurrently, index, table := m[1] != "", m[2], m[3]
		switch {
		case !concurrently && made[table]:
		case !concurrently:
			out = append(out, index+" is not built CONCURRENTLY: nothing can be written to "+table+" meanwhile")
		case !strings.Contains(text, "-- +goose NO TRANSACTION"):
			out = append(out, index+" is built CONCURRENTLY, which needs -- +goose NO TRANSACTION")
		case !strings.Contains(up, "DROP INDEX CONCURRENTLY IF EXISTS "+index+";"):
			out = append(out, index+" must be dropped first, in case an earlier try was cut off")
		case !strings.Contains(up, "SET lock_timeout = 0;"):
			out = append(out, index+" must wait for open transactions: SET lock_timeout = 0")
		}
	}
	return out
}

// TestMigrationsLetServersWork holds later migrations to the rules of CONTRIBUTING.md.
func TestMigrationsLetServersWork(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(Files, "*.sql")
	if err != nil || len(names) < 7 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		text, err := Files.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if name < firstRuled {
			continue
		}
		for _, p := range problems(string(text)) {
			t.Errorf("%s: %s", name, p)
		}
	}
	const safe = "-- +goose NO TRANSACTION\n-- +goose Up\nSET lock_timeout = 0;\nDROP INDEX CONCURRENTLY IF EXISTS i;\nCREATE INDEX CONCURRENTLY i ON t (a);\n-- +goose Down\nDROP INDEX i;\n"
	for _, c := range []struct{ name, text, want string }{
		{"safe", safe, ""},
		{"new table", "CREATE TABLE t (a int);\nCREATE INDEX i ON t (a);", ""},
		{"blocking", "CREATE UNIQUE INDEX i ON t (a);", "not built CONCURRENTLY"},
		{"transaction", strings.Replace(safe, "NO TRANSACTION", "", 1), "needs -- +goose NO TRANSACTION"},
		{"left over", strings.Replace(safe, "DROP INDEX CONCURRENTLY IF EXISTS i;", "", 1), "dropped first"},
		{"impatient", strings.Replace(safe, "SET lock_timeout = 0;", "", 1), "must wait"},
	} {
		got := strings.Join(problems(c.text), "; ")
		if (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}
