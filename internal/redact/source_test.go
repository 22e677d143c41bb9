package redact

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The schema holds what the source logs, and nothing else.
func TestSchemaIsWhatIsLogged(t *testing.T) {
	t.Parallel()
	logged, components := map[string]bool{}, map[string]bool{}
	for _, root := range []string{"..", "../../cmd"} {
		for _, file := range sources(t, root) {
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || !isAttr(call.Fun) {
					return true
				}
				key := literal(call.Args[0])
				if key == "" {
					t.Errorf("a key that is not a constant: %#v", call.Args[0])
				}
				logged[key] = true
				if key == "component" {
					components[literal(call.Args[1])] = true
				}
				return true
			})
		}
	}
	s := BaseSchema()
	admitted := slices.Concat(s.Numbers, s.Errors, slices.Collect(maps.Keys(s.Words)), slices.Collect(maps.Keys(s.Patterns)))
	slices.Sort(admitted)
	if got := slices.Sorted(maps.Keys(logged)); !slices.Equal(got, admitted) {
		t.Errorf("logged   %v\nadmitted %v", got, admitted)
	}
	if got := slices.Sorted(maps.Keys(components)); !slices.Equal(got, s.Words["component"]) {
		t.Errorf("components %v, admitted %v", got, s.Words["component"])
	}
}

// sources parses what is built into the server below root, but this package.
func sources(t *testing.T, root string) []*ast.File {
	t.Helper()
	var files []*ast.File
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "../redact/") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		files = append(files, file)
		return err
	})
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files: %v", len(files), err)
	}
	return files
}

// isAttr reports whether fun makes an attribute out of a key and a value.
func isAttr(fun ast.Expr) bool {
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "slog" && slices.Contains([]string{
		"Any", "Bool", "Duration", "Float64", "Group", "Int", "Int64", "String", "Time", "Uint64",
	}, sel.Sel.Name)
}

// literal is the value of a string literal, "" for anything else.
func literal(e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		return ""
	}
	text, _ := strconv.Unquote(lit.Value)
	return text
}
