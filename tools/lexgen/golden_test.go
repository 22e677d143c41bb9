package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"mls-server/client/message/messagefake"
	"mls-server/internal/gen/mlsapi/mlsapifake"
	"mls-server/lexrt/lexfake"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestCases runs each folder of testdata/cases: lexicons/ goes in, want/ or
// want_error.txt comes out. A new case is a new folder and a run with -update.
// All generated packages are vetted together.
func TestCases(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("testdata/cases/*")
	if err != nil || len(dirs) == 0 {
		t.Fatal("no cases", err)
	}
	module := tempModule(t, "golden")
	compiled := 0
	for _, dir := range dirs {
		name := filepath.Base(dir)
		files, messages := generateCase(t, dir, name, nil)
		golden(t, filepath.Join(dir, "want_error.txt"), messages)
		if strings.HasPrefix(name, "err_") != (files == nil) {
			t.Errorf("%s: generated %d files\n%s", name, len(files), messages)
		}
		for _, f := range files {
			put(t, filepath.Join(module, name, f.Name), f.Data)
			golden(t, filepath.Join(dir, "want", f.Name), f.Data)
		}
		compiled += len(files)
		noStrays(t, filepath.Join(dir, "want"), files)
		for seed := range uint64(20) {
			again, _ := generateCase(t, dir, name, rand.New(rand.NewPCG(seed, 0)))
			if !slices.EqualFunc(files, again, func(a, b emit.File) bool { return a.Name == b.Name && bytes.Equal(a.Data, b.Data) }) {
				t.Fatalf("%s: the output depends on the order of files", name)
			}
		}
	}
	if compiled == 0 {
		t.Fatal("no case generates anything")
	}
	goTool(t, module, "vet", "./...")
}

// generateCase runs one case, with the files in another order when shuffle is set.
func generateCase(t *testing.T, dir, name string, shuffle *rand.Rand) ([]emit.File, []byte) {
	t.Helper()
	var sources []lexicon.Source
	root := filepath.Join(dir, "lexicons")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		sources = append(sources, lexicon.Source{Path: filepath.ToSlash(rel), Data: data})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if shuffle != nil {
		shuffle.Shuffle(len(sources), func(i, j int) { sources[i], sources[j] = sources[j], sources[i] })
	}
	set, diags := lexicon.Parse(sources, lexicon.Options{})
	var files []emit.File
	if !diags.HasErrors() {
		model, more := ir.Build(set, ir.Options{Prefix: "com.example"})
		diags = append(diags, more...)
		diags.Sort()
		if !diags.HasErrors() {
			pkg := strings.ReplaceAll(name, "_", "")
			opt := emit.Options{Package: pkg, ImportPath: "golden/" + name, Runtime: "mls-server/lexrt"}
			if files, err = emit.Package(model, opt); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if shuffle == nil {
				if err := emit.TypeCheck(model, files, opt, true); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
	}
	var b bytes.Buffer
	for _, d := range diags {
		b.WriteString(d.String() + "\n")
	}
	return files, b.Bytes()
}

// golden compares data with a file; no data means no file.
func golden(t *testing.T, path string, data []byte) {
	t.Helper()
	want, err := os.ReadFile(path)
	if *update && !bytes.Equal(want, data) {
		if len(data) == 0 {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err != nil && len(data) == 0 {
		return
	}
	if !bytes.Equal(want, data) {
		t.Errorf("%s differs; look at it and run go test -update\n%s", path, data)
	}
}

func noStrays(t *testing.T, dir string, files []emit.File) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !slices.ContainsFunc(files, func(f emit.File) bool { return f.Name == e.Name() }) {
			if *update {
				if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
					t.Fatal(err)
				}
				continue
			}
			t.Errorf("%s is no longer generated", filepath.Join(dir, e.Name()))
		}
	}
}

// TestRepoUpToDate compares the repository's generated packages with what gen would write.
func TestRepoUpToDate(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	if code := run([]string{"check", "--config", "../../lexgen.json"}, io.Discard, &errs); code != 0 {
		t.Errorf("exit code %d\n%s", code, errs.String())
	}
}

// TestRepoContract runs every type of the repository's packages on values made from its schema.
func TestRepoContract(t *testing.T) {
	t.Parallel()
	contract(t, mlsapifake.Schemas, mlsapifake.Types)
	contract(t, messagefake.Schemas, messagefake.Types)
	for name, newValue := range mlsapifake.Params {
		var members map[string]any
		b, err := json.Marshal(reflect.ValueOf(newValue()).Elem().Interface())
		if err == nil {
			err = json.Unmarshal(b, &members)
		}
		for member := range members {
			if member[0] < 'a' {
				t.Errorf("%s by value is %s", name, b)
			}
		}
		if err != nil {
			t.Error(name, err)
		}
	}
}

func contract(t *testing.T, schemas lexfake.Set, types map[string]func() lexfake.Codec) {
	t.Helper()
	total := 0
	for name, newValue := range types {
		if err := schemas.RoundTrip(name, rand.New(rand.NewPCG(1, 2)), 20, newValue); err != nil {
			t.Error(err)
		}
		n, err := schemas.Refusals(name, rand.New(rand.NewPCG(1, 2)), newValue)
		if err != nil {
			t.Error(err)
		}
		total += n
		v := newValue()
		if err := v.UnmarshalJSON(schemas.Value(name, rand.New(rand.NewPCG(3, 4)), lexfake.Maximal)); err != nil {
			t.Fatal(name, err)
		}
		lexfake.Together(v)
	}
	if total < len(types) {
		t.Errorf("only %d mutations", total)
	}
}
