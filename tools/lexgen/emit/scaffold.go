package emit

import (
	"bytes"
	"go/format"
	"strings"

	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
)

// Scaffold writes the first version of one handler. It is meant to be edited and
// is never written over, so it has no header.
func Scaffold(m *ir.Method, opt Options, pkg, pkgPath string) (File, error) {
	e := &emitter{opt: opt}
	f := jen.NewFilePathName(pkgPath, pkg)
	f.NoFormat = true
	f.ImportName(opt.Runtime, "lexrt")
	f.ImportName(opt.ImportPath, opt.Package)
	params, results := e.signature(m, opt.ImportPath)
	var ret []jen.Code
	for range len(results) - 1 {
		ret = append(ret, jen.Nil())
	}
	ret = append(ret, e.rt("ErrMethodNotImplemented").Dot("WithMessage").Call(jen.Lit("this method is not implemented yet")))
	f.Add(doc(handlerDoc(m)).Func().Params(jen.Id("h").Op("*").Id("Handlers")).Id(m.GoName).Params(params...).Params(results...).Block(jen.Return(ret...)))
	return rendered(f, scaffoldName(m))
}

// ScaffoldType writes the first version of the type that has the handlers. What it says of
// Service makes a missing handler an error of the compiler.
func ScaffoldType(opt Options, pkg, pkgPath string) (File, error) {
	f := jen.NewFilePathName(pkgPath, pkg)
	f.NoFormat = true
	f.ImportName(opt.ImportPath, opt.Package)
	f.PackageComment("// Package " + pkg + " answers the methods of the service.")
	f.Comment("// Handlers has a method for each method of the service. Its fields are what they need.")
	f.Type().Id("Handlers").Struct()
	f.Var().Id("_").Qual(opt.ImportPath, "Service").Op("=").Parens(jen.Op("*").Id("Handlers")).Parens(jen.Nil())
	return rendered(f, "handlers.go")
}

func rendered(f *jen.File, name string) (File, error) {
	var raw bytes.Buffer
	if err := f.Render(&raw); err != nil {
		return File{}, err
	}
	src, err := format.Source(raw.Bytes())
	return File{Name: name, Data: src}, err
}

// scaffoldName is the lexicon's name in lower case.
func scaffoldName(m *ir.Method) string {
	return strings.ToLower(m.NSID[strings.LastIndexByte(m.NSID, '.')+1:]) + ".go"
}
