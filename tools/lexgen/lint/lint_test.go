package lint

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mls-server/tools/lexgen/lexicon"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestRules has a folder for each rule: lexicons that break it, and the findings.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, r := range Rules() {
		t.Run(r.ID, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join("testdata", r.ID)
			set, diags, err := lexicon.Load(os.DirFS(filepath.Join(dir, "lexicons")), lexicon.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diags.HasErrors() {
				t.Fatalf("the example is not valid: %v", diags)
			}
			var got strings.Builder
			fired := false
			for _, d := range Check(set, Options{}) {
				got.WriteString(d.String() + "\n")
				fired = fired || d.Rule == r.ID
				if d.Hint == "" || d.Rule == r.ID && d.Severity != r.Severity {
					t.Errorf("no hint or wrong severity: %v", d)
				}
			}
			if !fired {
				t.Errorf("the rule found nothing in its own example:\n%s", got.String())
			}
			golden(t, filepath.Join(dir, "want.txt"), got.String())
		})
	}
}

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

func TestNoRuleWithoutExample(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("testdata")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != len(Rules()) {
		t.Errorf("%d examples for %d rules", len(entries), len(Rules()))
	}
}

func TestOwnLexicons(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	if code := Run([]string{"--in", "../../../lexicons"}, &out, &errOut); code != 0 {
		t.Errorf("exit %d: %s%s", code, out.String(), errOut.String())
	}
	if !strings.Contains(out.String(), " lexicons: 0 errors") {
		t.Errorf("unexpected summary: %s", out.String())
	}
}

// TestAdviceGoesOn has one dangling reference beside a set that breaks a rule often: who reads the
// findings gets the error, the advice on the rest, and no flood.
func TestAdviceGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(id, main string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, id+".json"), []byte(`{"lexicon":1,"id":"`+id+`","defs":{`+main+`}}`), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("com.example.lost", `"main":{"type":"object","properties":{"a":{"type":"ref","ref":"com.example.nowhere"}}}`)
	put("com.example.defs", `"used":{"type":"object","properties":{}}`)
	put("com.example.note", `"main":{"type":"record","description":"A note.","key":"tid","record":{"type":"object","properties":{
		"a":{"type":"string"},"b":{"type":"string"},"c":{"type":"string"},"d":{"type":"string"},"e":{"type":"string"},"f":{"type":"string"},"g":{"type":"string"}}}},
		"alone":{"type":"object","properties":{}}`)
	var out, errOut bytes.Buffer
	if code := Run([]string{"--in", dir}, &out, &errOut); code != 1 {
		t.Errorf("exit %d", code)
	}
	for want, n := range map[string]int{"[ref-unknown]": 1, "[string-unbounded]": few, "… and 4 more of string-unbounded": 1, "1 lexicon with errors": 1, "[unused-def]": 0} {
		if got := strings.Count(out.String(), want); got != n {
			t.Errorf("%d times %q, want %d:\n%s", got, want, n, out.String())
		}
	}
	out.Reset()
	Run([]string{"--in", dir, "--all"}, &out, &errOut)
	if n := strings.Count(out.String(), "[string-unbounded]"); n != 7 {
		t.Errorf("%d findings are listed:\n%s", n, out.String())
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	broken := t.TempDir()
	if err := os.WriteFile(filepath.Join(broken, "com.example.defs.json"), []byte(`{"lexicon":1,"id":"com.example.defs","defs":{"a":{"type":"strng"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"strict", []string{"--in", "testdata/name-verb/lexicons", "--strict"}, 1, "error: the query"},
		{"lax", []string{"--in", "testdata/name-verb/lexicons"}, 0, "warning: the query"},
		{"notes hidden", []string{"--in", "testdata/enum-closed/lexicons"}, 0, "1 note\n"},
		{"notes shown", []string{"--in", "testdata/enum-closed/lexicons", "--notes"}, 0, "note: the enum"},
		{"quiet", []string{"--in", "testdata/name-verb/lexicons", "--quiet"}, 0, "4 lexicons: 0 errors, 4 warnings, 0 notes\n"},
		{"invalid", []string{"--in", broken}, 1, `did you mean "string"?`},
		{"rules", []string{"--rules"}, 0, "recursion-infinite"},
		{"no folder", []string{"--in", "testdata/none"}, 2, ""},
		{"bad flag", []string{"--nope"}, 2, ""},
		{"extra", []string{"x"}, 2, ""},
		{"help", []string{"--help"}, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var out, errOut bytes.Buffer
			if code := Run(c.args, &out, &errOut); code != c.code {
				t.Errorf("exit %d, want %d: %s%s", code, c.code, out.String(), errOut.String())
			}
			if !strings.Contains(out.String(), c.want) {
				t.Errorf("output misses %q:\n%s", c.want, out.String())
			}
			if c.code == 2 && errOut.Len() == 0 {
				t.Error("nothing on stderr")
			}
		})
	}
}
