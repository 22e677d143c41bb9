package emit

import (
	"go/token"

	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
)

// Fakes writes a package of one file that has the schemas of all struct and union
// types, for package lexfake, and constructors of the struct types and the types of
// parameters. Tests make valid and broken values from them.
func Fakes(m *ir.Model, opt Options, pkg, importPath string) (File, error) {
	e := &emitter{model: m, opt: Options{Package: pkg, ImportPath: importPath, Runtime: opt.Runtime}, fset: token.NewFileSet()}
	u := e.newUnit("fakes.go", nil)
	u.file.PackageComment("// Package " + pkg + " has the schemas of package " + opt.Package + " for tests with valid and broken values.")
	u.file.ImportName(e.lexfake(), "lexfake")
	u.file.ImportName(opt.ImportPath, opt.Package)
	schemas, types, params := jen.Dict{}, jen.Dict{}, jen.Dict{}
	constructor := func(goName, kind string) jen.Code {
		return jen.Func().Params().Qual(e.lexfake(), kind).Block(jen.Return(jen.New(jen.Qual(opt.ImportPath, goName))))
	}
	for _, l := range m.Lexicons {
		for _, d := range l.Decls {
			s, isStruct := d.(*ir.Struct)
			switch {
			case isStruct && s.Role == ir.RoleParams:
				params[jen.Lit(s.GoName)] = constructor(s.GoName, "Query")
				continue
			case isStruct:
				types[jen.Lit(s.GoName)] = constructor(s.GoName, "Codec")
			}
			e.fakeDecl(schemas, d)
		}
	}
	for _, w := range m.Wrappers {
		schemas[jen.Lit(w.GoName)] = e.fakeStruct(w.Wraps)
		types[jen.Lit(w.GoName)] = constructor(w.GoName, "Codec")
	}
	for _, other := range m.Elsewhere {
		for _, l := range other.Lexicons {
			for _, d := range l.Decls {
				e.fakeDecl(schemas, d)
			}
		}
		for _, w := range other.Wrappers {
			schemas[jen.Lit(fakeName(w.Import, w.GoName))] = e.fakeStruct(w.Wraps)
		}
	}
	u.add("Schemas", doc("Schemas are the schemas by their Go type names."), jen.Var().Id("Schemas").Op("=").Qual(e.lexfake(), "Set").Values(schemas))
	u.add("Types", doc("Types make new values of the struct types, by name."), jen.Var().Id("Types").Op("=").Map(jen.String()).Func().Params().Qual(e.lexfake(), "Codec").Values(types))
	u.add("Params", doc("Params make new values of the types of parameters, by name."), jen.Var().Id("Params").Op("=").Map(jen.String()).Func().Params().Qual(e.lexfake(), "Query").Values(params))
	return u.finish()
}

// fakeDecl adds the schema of a declaration.
func (e *emitter) fakeDecl(schemas jen.Dict, d ir.Decl) {
	switch d := d.(type) {
	case *ir.Struct:
		schemas[jen.Lit(fakeName(d.Import, d.GoName))] = e.fakeStruct(d)
	case *ir.Union:
		schemas[jen.Lit(fakeName(d.Import, d.GoName))] = e.fakeUnion(d)
	case *ir.Slice:
		schemas[jen.Lit(fakeName(d.Import, d.GoName))] = e.fake(arrayOf(d))
	}
}

// fakeName is what the schema of a type is called.
func fakeName(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (e *emitter) lexfake() string { return e.opt.Runtime + "/lexfake" }

func (e *emitter) schema(kind string, d jen.Dict) *jen.Statement {
	d[jen.Id("Kind")] = jen.Qual(e.lexfake(), kind)
	return jen.Op("&").Qual(e.lexfake(), "Schema").Values(d)
}

// fake is the schema of a value.
func (e *emitter) fake(t *ir.Type) *jen.Statement {
	ref := func(name string) *jen.Statement { return e.schema("Ref", jen.Dict{jen.Id("Name"): jen.Lit(name)}) }
	switch t.Kind {
	case ir.StructKind:
		return ref(fakeName(t.Struct.Import, t.Struct.GoName))
	case ir.UnionKind:
		return ref(fakeName(t.Union.Import, t.Union.GoName))
	case ir.SliceKind:
		return ref(fakeName(t.Slice.Import, t.Slice.GoName))
	default:
	}
	kind := helperName(t)
	d := jen.Dict{}
	if name, values := e.ruleValues(t.Schema); values != nil {
		d[jen.Id(kind)] = jen.Op("&").Add(e.rt(name)).Values(values...)
	}
	if t.Kind == ir.Array {
		d[jen.Id("Items")] = e.fake(t.Elem)
	}
	return e.schema(kind, d)
}

func (e *emitter) fakeStruct(s *ir.Struct) *jen.Statement {
	d := jen.Dict{}
	if s.TypeName != "" {
		d[jen.Id("TypeName")] = jen.Lit(s.TypeName)
	}
	if s.Record != nil {
		d[jen.Id("Record")] = jen.True()
	}
	if s.Extra != "" {
		d[jen.Id("Keeps")] = jen.True()
	}
	if s.Role == ir.RoleInput {
		d[jen.Id("Input")] = jen.True()
	}
	if len(s.Fields) > 0 {
		d[jen.Id("Props")] = jen.Index().Qual(e.lexfake(), "Prop").ValuesFunc(func(g *jen.Group) {
			for _, f := range s.Fields {
				p := jen.Dict{jen.Id("Name"): jen.Lit(f.Name), jen.Id("Schema"): e.fake(f.Type)}
				if f.Required {
					p[jen.Id("Required")] = jen.True()
				}
				if f.Nullable {
					p[jen.Id("Nullable")] = jen.True()
				}
				g.Values(p)
			}
		})
	}
	return e.schema("Object", d)
}

func (e *emitter) fakeUnion(s *ir.Union) *jen.Statement {
	d := jen.Dict{jen.Id("Members"): jen.Index().String().ValuesFunc(func(g *jen.Group) {
		for _, m := range s.Members {
			g.Lit(fakeName(m.Import, m.GoName))
		}
	})}
	if s.Closed {
		d[jen.Id("Closed")] = jen.True()
	}
	return e.schema("Union", d)
}
