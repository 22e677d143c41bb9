package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
)

// handler is a method that was found in the handlers package.
type handler struct {
	pos     token.Position
	exposed bool // it takes a lexrt.Caller, as endpoints do
}

// handlerMethods finds the type Handlers and its methods in any file of the package.
func handlerMethods(dir string) (out map[string]handler, declared bool, err error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	out = map[string]handler{}
	fset := token.NewFileSet()
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if e.IsDir() || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, false, fmt.Errorf("reading the handlers: %w", err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && receiverName(fn) == "Handlers" {
				out[fn.Name.Name] = handler{fset.Position(fn.Pos()), takesCaller(fn)}
			}
			declared = declared || declaresHandlers(d)
		}
	}
	return out, declared, nil
}

func declaresHandlers(d ast.Decl) bool {
	group, ok := d.(*ast.GenDecl)
	return ok && slices.ContainsFunc(group.Specs, func(s ast.Spec) bool {
		t, ok := s.(*ast.TypeSpec)
		return ok && t.Name.Name == "Handlers"
	})
}

func receiverName(fn *ast.FuncDecl) string {
	if fn.Recv == nil || len(fn.Recv.List) != 1 {
		return ""
	}
	t := fn.Recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if id, ok := t.(*ast.Ident); ok {
		return id.Name
	}
	return ""
}

func takesCaller(fn *ast.FuncDecl) bool {
	if len(fn.Type.Params.List) < 2 {
		return false
	}
	sel, ok := fn.Type.Params.List[1].Type.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Caller" && fn.Name.IsExported()
}

// missingHandlers names the methods that no file of the package handles.
func (c *genConfig) missingHandlers(m *ir.Model) ([]string, error) {
	if c.handlers == "" {
		return nil, nil
	}
	found, _, err := handlerMethods(c.handlers)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, method := range m.Methods {
		if _, ok := found[method.GoName]; !ok {
			problems = append(problems, filepath.ToSlash(c.handlers)+" has no method "+method.GoName+" for "+method.NSID)
		}
	}
	return problems, nil
}

// scaffold writes the handlers that no file of the package has, with their type where there is
// none, and reports handlers whose lexicon is gone. It opens no existing file for writing.
func (c *genConfig) scaffold(m *ir.Model, errs io.Writer) ([]string, error) {
	if c.handlers == "" {
		return nil, nil
	}
	found, declared, err := handlerMethods(c.handlers)
	if err != nil {
		return nil, err
	}
	pkg := filepath.Base(c.handlers)
	if abs, err := filepath.Abs(c.handlers); err == nil {
		pkg = filepath.Base(abs)
	}
	var written []string
	known := map[string]bool{}
	pkgPath := path.Join(path.Dir(c.module), pkg)
	if !declared && len(m.Methods) > 0 {
		f, err := emit.ScaffoldType(c.emitOptions(), pkg, pkgPath)
		if err != nil {
			return nil, err
		}
		name, err := createNew(c.handlers, f)
		if err != nil {
			return nil, err
		}
		written = append(written, name)
	}
	for _, method := range m.Methods {
		known[method.GoName] = true
		if _, ok := found[method.GoName]; ok {
			continue
		}
		f, err := emit.Scaffold(method, c.emitOptions(), pkg, pkgPath)
		if err != nil {
			return nil, err
		}
		name, err := createNew(c.handlers, f)
		if err != nil {
			return nil, err
		}
		written = append(written, name)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if h := found[name]; h.exposed && !known[name] {
			fmt.Fprintf(errs, "%s:%d: warning: the handler %s no longer has a lexicon; remove it\n", filepath.ToSlash(h.pos.Filename), h.pos.Line, name)
		}
	}
	return written, nil
}

// createNew writes a file under its name, or under another when that is taken.
func createNew(dir string, f emit.File) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // source is for everyone
		return "", err
	}
	base := strings.TrimSuffix(f.Name, ".go")
	for i := 1; ; i++ {
		name := filepath.Join(dir, base+".go")
		if i > 1 {
			name = filepath.Join(dir, fmt.Sprintf("%s%d.go", base, i))
		}
		file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // source is for everyone
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		_, err = file.Write(f.Data)
		return filepath.ToSlash(name), errors.Join(err, file.Close())
	}
}
