// Package verify type-checks generated code before it is written, so that a run
// that succeeds leaves a package that builds.
//
// It needs neither the go command nor a module: the runtime package and the few
// standard packages that generated code uses are known by their declarations, which
// are embedded. A test keeps those of the runtime equal to the runtime's own.
//
// It must not be used to judge code that lexgen did not write: the embedded
// declarations of the standard library are not complete.
package verify

import (
	_ "embed"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// Runtime is the import path of the package whose declarations are embedded.
const Runtime = "mls-server/lexrt"

//go:embed lexrt.txt
var runtimeSource string

// standard are the declarations that the runtime and generated code use.
var standard = map[string]string{
	"context": "package context\ntype Context interface { Done() <-chan struct{}; Err() error }\n",
	"io": "package io\ntype Reader interface { Read(p []byte) (int, error) }\ntype Writer interface { Write(p []byte) (int, error) }\n" +
		"type Closer interface { Close() error }\ntype ReadCloser interface { Reader; Closer }\n",
	"iter":    "package iter\ntype Seq2[K, V any] func(yield func(K, V) bool)\n",
	"net/url": "package url\ntype Values map[string][]string\nfunc (Values) Get(string) string { panic(0) }\nfunc (Values) Has(string) bool { panic(0) }\n",
	"time":    "package time\ntype Duration int64\ntype Time struct{}\n",
}

// maxProblems bounds how many type errors one report has.
const maxProblems = 10

// Code is a package to check.
type Code struct {
	// Fset is what all files were parsed with.
	Fset *token.FileSet
	// Path is the package's import path, Runtime that of lexrt, which may differ from Runtime.
	Path, Runtime string
	Files         []*ast.File
	// Others are packages that it imports, by path. Their declarations are enough.
	Others map[string][]*ast.File
}

// Package checks the files of one package. Without bodies only declarations are checked. The error
// lists what does not compile.
func Package(c Code, bodies bool) error {
	imp := stubs{code: c, done: map[string]*types.Package{}}
	var problems []string
	conf := types.Config{
		Importer: imp, IgnoreFuncBodies: !bodies, DisableUnusedImportCheck: !bodies,
		Error: func(err error) {
			if len(problems) < maxProblems {
				problems = append(problems, err.Error())
			}
		},
	}
	// The errors arrive one by one above.
	_, err := conf.Check(c.Path, c.Fset, c.Files, nil)
	if len(problems) > 0 {
		slices.Sort(problems)
		return fmt.Errorf("the generated code does not compile, which is a defect of lexgen; nothing was written:\n\t%s", strings.Join(problems, "\n\t"))
	}
	return err
}

// stubs imports the embedded declarations.
type stubs struct {
	code Code
	done map[string]*types.Package
}

func (s stubs) Import(path string) (*types.Package, error) {
	if p := s.done[path]; p != nil {
		return p, nil
	}
	fset, files := s.code.Fset, s.code.Others[path]
	if files == nil {
		source, ok := standard[path]
		if path == s.code.Runtime {
			source, ok = runtimeSource, true
		}
		if !ok {
			return nil, errors.New("generated code does not import " + path)
		}
		fset = token.NewFileSet()
		file, err := parser.ParseFile(fset, path+".go", source, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = []*ast.File{file}
	}
	conf := types.Config{Importer: s, IgnoreFuncBodies: true, DisableUnusedImportCheck: true}
	p, err := conf.Check(path, fset, files, nil)
	if err != nil {
		return nil, err
	}
	s.done[path] = p
	return p, nil
}
