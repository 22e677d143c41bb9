package explain_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"mls-server/tools/lexgen/explain"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// judge returns the rules that an example breaks.
func judge(t *testing.T, e explain.Example) []string {
	t.Helper()
	const prefix, suffix = `{"lexicon": 1, "id": "com.example.thing", "defs": {"main": `, `}}`
	text := strings.Join(e.Lines, "\n")
	var sources []lexicon.Source
	opt := ir.Options{Prefix: "com.example"}
	switch e.Kind {
	case "def":
		sources = append(sources, lexicon.Source{Path: "com/example/thing.json", Data: []byte(prefix + text + suffix)})
	case "field":
		text = prefix + `{"type": "object", "properties": {"a": ` + text + `}}` + suffix
		sources = append(sources, lexicon.Source{Path: "com/example/thing.json", Data: []byte(text)})
	case "policy":
		policy, err := ir.ParsePolicy("policy.json", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		opt.Policy = policy
		sources = append(sources, lexicon.Source{Path: "com/example/thing.json", Data: []byte(prefix + `{"type": "query", "errors": [{"name": "NotFound"}]}` + suffix)})
	case "files":
		for i, l := range e.Lines {
			sources = append(sources, lexicon.Source{Path: strings.Repeat("copy/", i) + "com/example/thing.json", Data: []byte(l)})
		}
	case "packages": // those of example.org are elsewhere
		opt.Elsewhere = []ir.Elsewhere{{Path: "example.org/api", Has: func(id string) bool { return ir.Matches("org.example.*", id) }}}
		for _, l := range e.Lines {
			id, _, _ := strings.Cut(strings.SplitN(l, `"id": "`, 2)[1], `"`)
			sources = append(sources, lexicon.Source{Path: strings.ReplaceAll(id, ".", "/") + ".json", Data: []byte(l)})
		}
	case "file":
		sources = append(sources, lexicon.Source{Path: "com/example/thing.json", Data: []byte(text)})
	default:
		t.Fatalf("there is no kind %q", e.Kind)
	}
	set, diags := lexicon.Parse(sources, lexicon.Options{NamedUnions: e.Kind == "packages"})
	if !diags.HasErrors() {
		_, more := ir.Build(set, opt)
		diags = append(diags, more...)
	}
	var out []string
	for _, d := range diags {
		out = append(out, d.Rule)
	}
	return out
}

// TestExamples holds the examples against the generator.
func TestExamples(t *testing.T) {
	t.Parallel()
	for _, r := range explain.Rules() {
		t.Run(r.Code, func(t *testing.T) {
			t.Parallel()
			if got := judge(t, r.Wrong); !slices.Contains(got, r.Code) {
				t.Errorf("the wrong example breaks %v", got)
			}
			if got := judge(t, r.Right); len(got) > 0 {
				t.Errorf("the right example breaks %v", got)
			}
			if r.Meaning == "" {
				t.Error("it has no meaning")
			}
		})
	}
}

// TestComplete looks in the source for diagnostics that are not explained.
func TestComplete(t *testing.T) {
	t.Parallel()
	var have []string
	for _, r := range explain.Rules() {
		have = append(have, r.Code)
	}
	if !slices.IsSorted(have) {
		t.Error("the rules are not sorted")
	}
	call := regexp.MustCompile(`(?:errorf|warnf|Diag)\((?:(?:lexicon\.)?(?:Error|Warning|Note), )?[^"\n]*?, "([a-z-]+)"[,+]|Rule: "([a-z-]+)"`)
	found := 0
	for _, dir := range []string{"../lexicon", "../ir"} {
		files, err := filepath.Glob(dir + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range call.FindAllStringSubmatch(string(data), -1) {
				code := m[1] + m[2]
				if strings.HasSuffix(code, "-") {
					continue // completed with the name of a member
				}
				found++
				if !slices.Contains(have, code) {
					t.Errorf("%s: the diagnostic %s is not explained", name, code)
				}
			}
		}
	}
	if found < 60 {
		t.Errorf("only %d diagnostics were found", found)
	}
}

// TestRun compares what the command prints with a golden file.
func TestRun(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	for _, args := range [][]string{{"ref-unknown", "[id-path]"}, {"union-closed"}, {"ref-unknow"}, {}} {
		code := explain.Run(args, &b, &b)
		b.WriteString("exit code " + strconv.Itoa(code) + "\n\n")
	}
	const golden = "testdata/run.txt"
	if *update {
		if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), want) {
		t.Errorf("run.txt differs; look at it and run go test -update\n%s", b.Bytes())
	}
}
