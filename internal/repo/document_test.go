package repo_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// tests maps the tests of the repository, as package.TestName, to their text: comment and body.
func tests(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || strings.HasPrefix(d.Name(), ".") && name != root):
			return fs.SkipDir
		case !strings.HasSuffix(name, "_test.go"):
			return nil
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, data, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range file.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Test") && !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			from := fn.Pos()
			if fn.Doc != nil {
				from = fn.Doc.Pos()
			}
			key := strings.TrimSuffix(file.Name.Name, "_test") + "." + fn.Name.Name
			// Positions count from 1 in a file set of one file.
			found[key] += string(data[from-1 : fn.End()-1])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var (
	row  = regexp.MustCompile(`(?m)^\|(.*)\|$`)
	code = regexp.MustCompile("`([^`]+)`")
)

// rows returns the cells of a page's tables, without their heads.
func rows(text string) [][]string {
	var out [][]string
	for _, m := range row.FindAllStringSubmatch(text, -1) {
		cells := strings.Split(m[1], "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if strings.Trim(cells[0], "-") == "" && len(cells[0]) > 0 {
			out = out[:len(out)-1] // the head, and the line below it
			continue
		}
		out = append(out, cells)
	}
	return out
}

// TestInvariantsAreTested: each invariant is numbered in order and has tests that name it.
func TestInvariantsAreTested(t *testing.T) {
	t.Parallel()
	known := tests(t)
	all := rows(read(t, "docs/invariants.md"))
	if len(all) < 12 {
		t.Fatalf("there are %d invariants", len(all))
	}
	for i, cells := range all {
		name := "I" + strconv.Itoa(i+1)
		if cells[0] != name {
			t.Fatalf("row %d is %s, want %s", i+1, cells[0], name)
		}
		word := regexp.MustCompile(`\b` + name + `\b`)
		named := code.FindAllStringSubmatch(cells[len(cells)-1], -1)
		if len(named) == 0 {
			t.Errorf("%s has no test", name)
		}
		for _, m := range named {
			text, ok := known[m[1]]
			switch {
			case !ok:
				t.Errorf("%s: there is no test %s", name, m[1])
			case !word.MatchString(text):
				t.Errorf("%s: the test %s does not name it", name, m[1])
			}
		}
	}
}
