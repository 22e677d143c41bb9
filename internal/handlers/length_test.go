package handlers_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/gen/mlsapi"
)

// maxLines is how long a method may be, together with all that its file also declares.
const maxLines = 40

// Each method of the service has a file of its own, and what the file declares is at most maxLines
// long, imports and comments aside. So a method parses, calls one verb and replies: rules and
// workflows have no room here. What several methods share is in the other files, where functions
// are held to the same length.
func TestMethodsAreShort(t *testing.T) {
	t.Parallel()
	methods := map[string]bool{}
	for m := range reflect.TypeFor[mlsapi.Service]().Methods() {
		methods[m.Name] = true
	}
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	found := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, source, parser.SkipObjectResolution)
		require.NoError(t, err)
		total, method := 0, ""
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
				continue
			}
			n := fset.Position(d.End()).Line - fset.Position(d.Pos()).Line + 1
			total += n
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if f.Recv != nil && methods[f.Name.Name] && strings.ToLower(f.Name.Name)+".go" == path {
				method = f.Name.Name
			}
			if path != "errors.go" { // one table, a line or two for each kind
				assert.LessOrEqual(t, n, maxLines, "%s: %s is too long", path, f.Name.Name)
			}
		}
		if method != "" {
			found++
			assert.LessOrEqual(t, total, maxLines, "%s: the method and its helpers are too long", path)
		}
	}
	assert.Equal(t, len(methods), found, "every method has a file of its own name")
}
