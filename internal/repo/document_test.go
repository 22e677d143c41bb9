package repo_test

import (
	"fmt"
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

// TestFaultsAreHeld: each kind of fault that was found once says where, and has tests.
func TestFaultsAreHeld(t *testing.T) {
	t.Parallel()
	known := tests(t)
	all := rows(read(t, "docs/faults.md"))
	if len(all) == 0 {
		t.Fatal("there are no faults")
	}
	for _, cells := range all {
		if len(cells) != 3 || cells[0] == "" || cells[1] == "" {
			t.Errorf("want the kind, where it was seen, and tests: %q", cells)
			continue
		}
		named := code.FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 {
			t.Errorf("%q has no test", cells[0])
		}
		for _, m := range named {
			if _, ok := known[m[1]]; !ok {
				t.Errorf("%q: there is no test %s", cells[0], m[1])
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)#\s]+)(?:#[^)]*)?\)|(?:src|srcset)="([^"]+)"`)

// TestLinks: what pages link to in the repository is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	for _, name := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(read(t, name), -1) {
			target := m[1] + m[2]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), filepath.FromSlash(target))); err != nil {
				t.Errorf("%s: there is no %s", name, target)
			}
		}
	}
}

// TestDecisions: the pages in docs/adr are numbered without gaps, and the index has a line for
// each, in order.
func TestDecisions(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(root, "docs/adr/[0-9]*.md"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	index := rows(read(t, "docs/adr/README.md"))
	for i, file := range files {
		name := filepath.Base(file)
		number := fmt.Sprintf("%04d", i+1)
		title, _, _ := strings.Cut(read(t, "docs/adr/"+name), "\n")
		if !strings.HasPrefix(name, number+"-") || !strings.HasPrefix(title, fmt.Sprintf("# %d. ", i+1)) {
			t.Fatalf("%s, %q: the next number is %s", name, title, number)
		}
		if i >= len(index) || len(index[i]) != 2 || index[i][1] == "" || !strings.Contains(index[i][0], "("+name+")") {
			t.Fatalf("docs/adr/README.md: row %d must link to %s and say what was decided", i+1, name)
		}
	}
	if len(index) != len(files) {
		t.Errorf("the index has %d rows for %d pages", len(index), len(files))
	}
}
