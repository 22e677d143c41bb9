package breaking

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mls-server/tools/lexgen/lexicon"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is different:\n%s\nrun the test with -update if that is right", file, got)
	}
}

func load(t *testing.T, dir string) Version {
	t.Helper()
	v, diags, err := readFolder(dir, "policy.json", lexicon.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diags.HasErrors() {
		t.Fatalf("%s is not valid: %v", dir, diags)
	}
	return v
}

// TestRules has a folder for each rule with an old and a new version, and the findings.
func TestRules(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("testdata/rules")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(Rules()) {
		t.Errorf("%d examples for %d rules", len(entries), len(Rules()))
	}
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("testdata/rules", r.ID)
			var got strings.Builder
			fired := false
			for _, f := range Compare(load(t, filepath.Join(dir, "old")), load(t, filepath.Join(dir, "new"))) {
				got.WriteString(f.String())
				fired = fired || f.Rule == r.ID
				if f.Level == 0 || f.Why == "" {
					t.Errorf("a finding without level or explanation: %v", f)
				}
				if f.Rule == r.ID && !strings.Contains(r.Doc, f.Level.String()) {
					t.Errorf("the documentation of the rule does not mention the level %v", f.Level)
				}
			}
			if !fired {
				t.Errorf("the rule found nothing in its own example:\n%s", got.String())
			}
			golden(t, filepath.Join(dir, "want.txt"), got.String())
		})
	}
}

// TestSafe has changes that the evolution rules allow: none of them is found.
func TestSafe(t *testing.T) {
	t.Parallel()
	found := Compare(load(t, "testdata/safe/old"), load(t, "testdata/safe/new"))
	for _, f := range found {
		t.Errorf("a safe change was reported:\n%v", f)
	}
}

func TestSame(t *testing.T) {
	t.Parallel()
	v := load(t, "../../../lexicons")
	if found := Compare(v, v); len(found) != 0 {
		t.Errorf("a version differs from itself: %v", found)
	}
}

func run(t *testing.T, args ...string) (int, string, string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code := Run(args, &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestWaivers(t *testing.T) {
	t.Parallel()
	dir := "testdata/rules/error-removed/"
	args := []string{"--in", dir + "new", "--against", dir + "old", "--waivers"}
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "waivers.json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const waiver = `{"rule":"error-removed","lexicon":"com.example.getThing","pointer":"/defs/main/errors/0","reason":"never sent by any server","expires":"2026-12-31"}`
	for _, c := range []struct {
		name, text, today string
		code              int
		want              string
	}{
		{"holds", `{"waivers":[` + waiver + `]}`, "2026-12-31", 0, "waiver: until 2026-12-31: never sent"},
		{"expired", `{"waivers":[` + waiver + `]}`, "2027-01-01", 1, "expired on 2026-12-31"},
		{"too far", `{"waivers":[` + waiver + `]}`, "2025-01-01", 2, "more than a year"},
		{"unused", `{"waivers":[` + waiver + "," + strings.Replace(waiver, "errors/0", "errors/7", 1) + `]}`, "2026-12-01", 0, "matches no change; remove it"},
		{"other place", `{"waivers":[` + strings.Replace(waiver, "errors/0", "errors/7", 1) + `]}`, "2026-12-01", 1, "1 forbidden, 0 waived"},
		{"no reason", `{"waivers":[` + strings.Replace(waiver, "never sent by any server", " because ", 1) + `]}`, "2026-12-01", 2, "no reason"},
		{"bad rule", `{"waivers":[` + strings.Replace(waiver, "error-removed", "nope", 1) + `]}`, "2026-12-01", 2, "is not a rule"},
		{"bad key", `{"waivers":[{"until":"x"}]}`, "2026-12-01", 2, "unknown field"},
		{"no date", `{"waivers":[` + strings.Replace(waiver, "2026-12-31", "soon", 1) + `]}`, "2026-12-01", 2, "YYYY-MM-DD"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, out, errOut := run(t, append(args, file(c.text), "--today", c.today)...)
			if code != c.code || !strings.Contains(out+errOut, c.want) {
				t.Errorf("exit %d, want %d and %q:\n%s%s", code, c.code, c.want, out, errOut)
			}
		})
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	dir := "testdata/rules/error-added/"
	for level, want := range map[string]int{"wire": 0, "contract": 0, "source": 0, "review": 1, "none": 2} {
		if code, out, errOut := run(t, "--in", dir+"new", "--against", dir+"old", "--level", level); code != want {
			t.Errorf("%s: exit %d, want %d: %s%s", level, code, want, out, errOut)
		}
	}
}

func TestGit(t *testing.T) {
	t.Parallel()
	repo := t.TempDir()
	call := func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", append([]string{"-C", repo, "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	call("init", "-q")
	lex := filepath.Join(repo, "some dir", "lexicons")
	copyTree(t, "testdata/rules/error-removed/old", lex)
	if err := os.WriteFile(filepath.Join(lex, "policy.json"), []byte(`{"statuses":{"Gone":404}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	call("add", ".")
	call("commit", "-q", "-m", "first")
	call("tag", "v1")
	if code, out, errOut := run(t, "--in", lex, "--against", "git:v1"); code != 0 {
		t.Fatalf("exit %d: %s%s", code, out, errOut)
	}
	copyTree(t, "testdata/rules/error-removed/new", lex)
	code, out, errOut := run(t, "--in", lex, "--against", "git:v1")
	if code != 1 || !strings.Contains(out, "[error-removed]") {
		t.Errorf("exit %d: %s%s", code, out, errOut)
	}
	if status, err := exec.CommandContext(t.Context(), "git", "-C", repo, "stash", "list").Output(); err != nil || len(status) != 0 {
		t.Errorf("the repository was changed: %s %v", status, err)
	}
	for _, bad := range []string{"git:none", "git:--help", "git:", "git:HEAD:x"} {
		if code, _, errOut := run(t, "--in", lex, "--against", bad); code != 2 || !strings.Contains(errOut, "revision") {
			t.Errorf("%s: exit %d: %s", bad, code, errOut)
		}
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "com.example.a.json"), []byte(`{"lexicon":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	good := "testdata/safe/old"
	for _, args := range [][]string{
		{},
		{"--in", good},
		{"--nope"},
		{"x"},
		{"--in", good, "--against", broken},
		{"--in", broken, "--against", good},
		{"--in", good, "--against", t.TempDir()},
		{"--in", "testdata/none", "--against", good},
		{"--in", good, "--against", good, "--today", "now"},
		{"--in", good, "--against", good, "--compat", "x"},
		{"--in", good, "--against", good, "--waivers", "testdata/none"},
	} {
		if code, out, errOut := run(t, args...); code != 2 || errOut == "" {
			t.Errorf("%q: exit %d: %s", args, code, out)
		}
	}
	if code, out, _ := run(t, "--rules"); code != 0 || !strings.Contains(out, "limit-loosened") {
		t.Errorf("rules: exit %d", code)
	}
	if code, _, _ := run(t, "--help"); code != 0 {
		t.Errorf("help: exit %d", code)
	}
}
