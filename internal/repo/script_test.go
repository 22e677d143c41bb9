package repo_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// root is the repository's folder, seen from this package.
const root = "../.."

// script is a copy of one of .ci's scripts in a folder of its own.
type script struct {
	dir, name string
	// path comes before PATH.
	path string
}

func newScript(t *testing.T, name string, files map[string]string) *script {
	t.Helper()
	s := &script{dir: t.TempDir(), name: name}
	s.path = filepath.Join(s.dir, "stubs")
	text, err := os.ReadFile(filepath.Join(root, ".ci", name))
	if err != nil {
		t.Fatal(err)
	}
	s.put(t, ".ci/"+name, string(text))
	for file, text := range files {
		s.put(t, file, text)
	}
	return s
}

// put writes a file; every file may be executed.
func (s *script) put(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join(s.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (s *script) run(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.dir, ".ci", s.name), args...)
	cmd.Env = append(os.Environ(), "PATH="+s.path+string(os.PathListSeparator)+os.Getenv("PATH"), "GO=go")
	text, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(text)
}

// TestSQLCIsNeverSkippedWrongly: sqlc runs when anything that it reads or writes changed, and
// only then. The stub stands for sqlc: diff fails unless the output has the query's text.
func TestSQLCIsNeverSkippedWrongly(t *testing.T) {
	t.Parallel()
	s := newScript(t, "sqlc", map[string]string{
		"queries/a.sql": "one", "migrations/1.sql": "m", "sqlc.yaml": "y", "tools/go.mod": "github.com/sqlc-dev/sqlc v1\n",
		"internal/gen/db/a.sql.go": "one", "internal/gen/db/db.go": "db", "internal/gen/db/models.go": "m",
		"bin/sqlc": "#!/bin/sh\necho ran $1\nif [ $1 = generate ]; then cp queries/a.sql internal/gen/db/a.sql.go; else cmp queries/a.sql internal/gen/db/a.sql.go; fi\n",
	})
	// bin/sqlc is newer than tools/go.mod, so it is not built.
	s.put(t, "stubs/go", "#!/bin/sh\necho built\n")
	step := func(what, arg string, wantCode int, want string) {
		t.Helper()
		code, out := s.run(t, arg)
		if code != wantCode || (want == "" && out != "") || !strings.Contains(out, want) {
			t.Errorf("%s, %s: exit code %d, want %d, and %q in:\n%s", what, arg, code, wantCode, want, out)
		}
	}
	step("first", "diff", 0, "ran diff")
	step("unchanged", "diff", 0, "")
	step("unchanged", "generate", 0, "")
	for _, file := range []string{"queries/a.sql", "queries/b.sql", "migrations/1.sql", "migrations/2.sql", "sqlc.yaml", "internal/gen/db/models.go"} {
		s.put(t, file, "changed")
		step(file, "generate", 0, "ran generate")
		step(file+" again", "diff", 0, "")
	}
	s.put(t, "queries/a.sql", "two")
	step("stale", "diff", 1, "ran diff")
	step("still stale", "diff", 1, "ran diff")
	step("stale", "generate", 0, "ran generate")
	s.put(t, "internal/gen/db/a.sql.go", "edited by hand")
	step("edited", "diff", 1, "ran diff")
	step("edited", "generate", 0, "ran generate")
	s.put(t, "internal/gen/db/gone.sql.go", "")
	step("left over", "diff", 1, "internal/gen/db/gone.sql.go should not be there")
	step("left over", "generate", 0, "removing internal/gen/db/gone.sql.go")
	s.put(t, "internal/gen/db/own.go", "")
	step("stray", "diff", 1, "internal/gen/db/own.go should not be there")
	step("stray", "generate", 1, "internal/gen/db/own.go should not be there")
	if err := os.Remove(filepath.Join(s.dir, "internal/gen/db/own.go")); err != nil {
		t.Fatal(err)
	}
	s.put(t, "tools/go.mod", "github.com/sqlc-dev/sqlc v2\n")
	step("newer sqlc", "diff", 0, "built")
}

// TestClosingLines: the last line of make test says that all parts passed exactly when they did.
func TestClosingLines(t *testing.T) {
	t.Parallel()
	const long = "TestHostileMembers TestModel TestRepeats TestVectorsGroup"
	for _, c := range []struct {
		name, fail, long string
		code             int
		verdicts         string
		last             string
	}{
		{"passed", "nothing", long, 0, "ok ok ok ok ok ok ok ok ok ok", "make test: all 10 parts passed"},
		{"one failed", "secp256k1 ./internal/auth", long, 1, "ok ok ok ok FAIL ok ok ok ok ok", "make test: 1 of 10 parts failed"},
		{"two failed", "-timeout", long, 1, "FAIL ok ok ok ok ok FAIL ok ok ok", "make test: 2 of 10 parts failed"},
		{"a long test is gone", "nothing", "TestHostileMembers TestRepeats TestVectorsGroup", 1, "ok FAIL ok ok ok ok ok ok ok ok", "make test: 1 of 10 parts failed"},
	} {
		s := newScript(t, "test", map[string]string{
			".ci/e2e": "#!/bin/sh\n", ".ci/client": "#!/bin/sh\n", ".ci/example": "#!/bin/sh\n", "tools/lexgen/go.mod": "", "bench/go.mod": "",
			"stubs/go": "#!/bin/sh\ncase \"$*\" in *-list*) printf '%s\\n' " + c.long + ";; *" + `"` + c.fail + `"` + "*) exit 1;; esac\n",
		})
		code, out := s.run(t)
		lines := strings.Split(strings.TrimSpace(out), "\n")
		var verdicts []string
		for _, line := range lines[max(0, len(lines)-11) : len(lines)-1] {
			verdict, _, _ := strings.Cut(line, " ")
			verdicts = append(verdicts, verdict)
		}
		if code != c.code || lines[len(lines)-1] != c.last || strings.Join(verdicts, " ") != c.verdicts {
			t.Errorf("%s: exit code %d:\n%s", c.name, code, out)
		}
	}
}
