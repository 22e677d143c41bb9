package main

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// indigo is the folder of the indigo module, which has the official lexicons and
// conformance data.
func indigo(tb testing.TB) string {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bluesky-social/indigo")
	out, err := cmd.Output()
	if err != nil || len(bytes.TrimSpace(out)) == 0 {
		tb.Fatalf("finding the indigo module: %v (run go mod download in tools/lexgen)", err)
	}
	return string(bytes.TrimSpace(out))
}

// corpus reads the official lexicons and those of the conformance catalog.
func corpus(tb testing.TB) []lexicon.Source {
	tb.Helper()
	dir := indigo(tb)
	var out []lexicon.Source
	for _, root := range []string{"lexicons", "atproto/lexicon/testdata/catalog"} {
		root = filepath.Join(dir, filepath.FromSlash(root))
		err := filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
				return err
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			var head struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(data, &head); err != nil {
				return err
			}
			name := strings.ReplaceAll(head.ID, ".", "/") + ".json"
			for _, s := range out {
				if s.Path == name {
					return nil // the catalog repeats an official file
				}
			}
			out = append(out, lexicon.Source{Path: name, Data: data})
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
	if len(out) < 377 {
		tb.Fatalf("the corpus has only %d files", len(out))
	}
	return out
}

// build runs the whole pipeline in memory and fails on errors.
func build(tb testing.TB, sources []lexicon.Source, opt ir.Options) *ir.Model {
	tb.Helper()
	set, diags := lexicon.Parse(sources, lexicon.Options{})
	model, more := ir.Build(set, opt)
	for _, d := range append(diags, more...) {
		if d.Severity == lexicon.Error {
			tb.Error(d)
		}
	}
	if tb.Failed() {
		tb.FailNow()
	}
	return model
}

// tempModule makes a module that uses the runtime of this repository.
func tempModule(tb testing.TB, name string) string {
	tb.Helper()
	dir := tb.TempDir()
	root, err := filepath.Abs("../..")
	if err != nil {
		tb.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		tb.Fatal(err)
	}
	text := strings.Replace(string(mod), "module mls-server/tools/lexgen", "module "+name, 1)
	text = strings.Replace(text, "=> ../..", "=> "+root, 1)
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		tb.Fatal(err)
	}
	put(tb, filepath.Join(dir, "go.mod"), []byte(text))
	put(tb, filepath.Join(dir, "go.sum"), sum)
	return dir
}

func put(tb testing.TB, name string, data []byte) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// goTool runs the go command. Without paths in the output, the build cache serves a
// run in another temporary folder too.
func goTool(tb testing.TB, dir string, args ...string) {
	tb.Helper()
	cmd := exec.CommandContext(tb.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod -trimpath", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		if len(out) > 20000 {
			out = out[:20000]
		}
		tb.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// TestCorpusTypes generates the official corpus whole and type-checks it.
func TestCorpusTypes(t *testing.T) {
	t.Parallel()
	opt := emit.Options{Package: "lexapi", ImportPath: "corpus/lexapi", Runtime: "mls-server/lexrt"}
	model := build(t, corpus(t), ir.Options{})
	files, err := emit.Package(model, opt)
	if err != nil {
		t.Fatal(err)
	}
	if err := emit.TypeCheck(model, files, opt, true); err != nil {
		t.Error(err)
	}
}

// some picks n sources, always the same, with all that they refer to and the
// lexicon of the official record data.
func some(t *testing.T, all []lexicon.Source, n int) []lexicon.Source {
	t.Helper()
	set, diags := lexicon.Parse(all, lexicon.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	keep := map[string]bool{}
	var add func(f *lexicon.File)
	add = func(f *lexicon.File) {
		if keep[f.Path] {
			return
		}
		keep[f.Path] = true
		for _, d := range f.Defs {
			lexicon.Walk(d.Schema, func(s lexicon.Schema) {
				switch s := s.(type) {
				case *lexicon.Ref:
					add(s.Target.File)
				case *lexicon.Union:
					for _, r := range s.Refs {
						add(r.Target.File)
					}
				}
			})
		}
	}
	add(set.File("example.lexicon.record"))
	rnd := rand.New(rand.NewPCG(20, 26))
	for range n {
		add(set.Files[rnd.IntN(len(set.Files))])
	}
	return slices.DeleteFunc(slices.Clone(all), func(s lexicon.Source) bool { return !keep[s.Path] })
}

// TestCorpus generates a part of the official corpus, vets it, and runs
// testdata/roundtrip on it: values made from each schema must come back the same,
// each broken constraint must be refused with its pointer, and the official record
// data must be judged as its authors say. LEXGEN_TEST_ALL=1 takes all of it, which
// needs a minute or two for the compiler.
func TestCorpus(t *testing.T) {
	t.Parallel()
	sources := corpus(t)
	if !everything() {
		sources = some(t, sources, 12)
	}
	model := build(t, sources, ir.Options{})
	dir := tempModule(t, "corpus")
	opt := emit.Options{Package: "lexapi", ImportPath: "corpus/lexapi", Runtime: "mls-server/lexrt"}
	files, err := emit.Package(model, opt)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		put(t, filepath.Join(dir, "lexapi", f.Name), f.Data)
	}
	fakes, err := emit.Fakes(model, opt, "lexapifake", "corpus/lexapi/lexapifake")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "lexapi", "lexapifake", fakes.Name), fakes.Data)
	contract, err := os.ReadFile("testdata/roundtrip/roundtrip_test.go.txt")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "lexapi", "roundtrip_test.go"), contract)
	for _, name := range []string{"record-data-valid.json", "record-data-invalid.json"} {
		data, err := os.ReadFile(filepath.Join(indigo(t), "atproto/lexicon/testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "lexapi", name), data)
	}
	goTool(t, dir, "vet", "./...")
	goTool(t, dir, "test", "./...")
}

// TestLexiconConformance judges the official valid and invalid lexicons.
func TestLexiconConformance(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"valid", "invalid"} {
		data, err := os.ReadFile(filepath.Join(indigo(t), "atproto/lexicon/testdata", "lexicon-"+kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var cases []struct {
			Name    string          `json:"name"`
			Lexicon json.RawMessage `json:"lexicon"`
		}
		if err := json.Unmarshal(data, &cases); err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			t.Run(kind+"/"+c.Name, func(t *testing.T) {
				t.Parallel()
				var head struct {
					ID any `json:"id"`
				}
				if err := json.Unmarshal(c.Lexicon, &head); err != nil {
					t.Fatal(err)
				}
				id, _ := head.ID.(string)
				_, diags := lexicon.Parse([]lexicon.Source{{Path: strings.ReplaceAll(id, ".", "/") + ".json", Data: c.Lexicon}}, lexicon.Options{})
				if got := !diags.HasErrors(); got != (kind == "valid") {
					t.Errorf("accepted: %v, diagnostics: %v", got, diags)
				}
			})
		}
	}
}
