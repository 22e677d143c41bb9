package main

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
)

// A method is one endpoint as the generated code and the lexicon have it.
type method struct {
	// name is that of the Service interface, nsid the lexicon's.
	name, nsid string
	// declared are the names of the lexicon's errors, and decoded those that a broken constraint
	// of the request is answered with, before the handler is called.
	declared, decoded []string
}

// tables are what the generated code and the handlers' table say.
type tables struct {
	methods []method
	// wire is the error's name that a kind is answered with.
	wire map[string]string
	// general are the names that every method may answer with.
	general map[string]bool
}

// readTables reads the variables MethodX and Err… of the API, the general errors of the runtime,
// and the switch over kinds in the handlers.
func readTables(l *loaded) (*tables, error) {
	t := &tables{wire: map[string]string{}, general: map[string]bool{}}
	declared, general := errorVars(l.api), errorVars(l.runtime)
	for _, name := range general {
		t.general[name] = true
	}
	service, _ := l.api.Types.Scope().Lookup("Service").Type().Underlying().(*types.Interface)
	if service == nil {
		return nil, fmt.Errorf("package %s has no interface Service", l.api.PkgPath)
	}
	for name, lit := range composites(l.api, "Method") {
		m := method{name: strings.TrimPrefix(name, "Method")}
		for _, e := range lit.Elts {
			kv, _ := e.(*ast.KeyValueExpr)
			switch key, _ := kv.Key.(*ast.Ident); key.Name {
			case "NSID":
				m.nsid = text(l.api, kv.Value)
			case "Errors":
				m.declared = namesIn(l.api, kv.Value, declared)
			case "Violations":
				m.decoded = append(m.decoded, namesIn(l.api, kv.Value, declared)...)
			case "Anonymous":
				m.decoded = append(m.decoded, "TokenNotAllowed") // by the runtime
			}
		}
		t.methods = append(t.methods, m)
	}
	slices.SortFunc(t.methods, func(a, b method) int { return strings.Compare(a.nsid, b.nsid) })
	if len(t.methods) == 0 || len(t.methods) != service.NumMethods() {
		return nil, fmt.Errorf("%d methods in the table, %d in the interface", len(t.methods), service.NumMethods())
	}
	return t, t.readSwitch(l, declared, general)
}

// errorVars are the package's variables of type *Error with the names that they carry.
func errorVars(p *packages.Package) map[string]string {
	out := map[string]string{}
	for name, lit := range composites(p, "Error") {
		for _, e := range lit.Elts {
			if kv, ok := e.(*ast.KeyValueExpr); ok {
				if key, _ := kv.Key.(*ast.Ident); key.Name == "Name" {
					out[name] = text(p, kv.Value)
				}
			}
		}
	}
	return out
}

// composites are the package's variables that are set to &T{…}, by their names.
func composites(p *packages.Package, typeName string) map[string]*ast.CompositeLit {
	out := map[string]*ast.CompositeLit{}
	for _, file := range p.Syntax {
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, s := range g.Specs {
				v, ok := s.(*ast.ValueSpec)
				if !ok || len(v.Names) != 1 || len(v.Values) != 1 {
					continue
				}
				if u, ok := v.Values[0].(*ast.UnaryExpr); ok {
					lit, ok := u.X.(*ast.CompositeLit)
					if named, isNamed := p.TypesInfo.TypeOf(u.X).(*types.Named); ok && isNamed && named.Obj().Name() == typeName {
						out[v.Names[0].Name] = lit
					}
				}
			}
		}
	}
	return out
}

func text(p *packages.Package, e ast.Expr) string {
	if v := p.TypesInfo.Types[e].Value; v != nil && v.Kind() == constant.String {
		return constant.StringVal(v)
	}
	return ""
}

func namesIn(p *packages.Package, e ast.Expr, vars map[string]string) (out []string) {
	ast.Inspect(e, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok {
			if v, isVar := p.TypesInfo.Uses[id].(*types.Var); isVar && vars[v.Name()] != "" {
				out = append(out, vars[v.Name()])
			}
		}
		return true
	})
	return out
}

// readSwitch finds the switch over Kind whose cases return the errors' variables.
func (t *tables) readSwitch(l *loaded, declared, general map[string]string) error {
	kind := l.domain.Types.Scope().Lookup("Kind").Type()
	for _, file := range l.handlers.Syntax {
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.SwitchStmt)
			if !ok || s.Tag == nil || !types.Identical(l.handlers.TypesInfo.TypeOf(s.Tag), kind) {
				return true
			}
			for _, c := range s.Body.List {
				t.readCase(l, c, declared, general)
			}
			return false
		})
	}
	if len(t.wire) == 0 {
		return fmt.Errorf("package %s has no switch over Kind that returns errors of the API", l.handlers.PkgPath)
	}
	return nil
}

func (t *tables) readCase(l *loaded, c ast.Stmt, declared, general map[string]string) {
	clause, _ := c.(*ast.CaseClause)
	name := ""
	for _, s := range clause.Body {
		r, ok := s.(*ast.ReturnStmt)
		if !ok || len(r.Results) != 1 {
			continue
		}
		if sel, ok := r.Results[0].(*ast.SelectorExpr); ok {
			switch v := l.handlers.TypesInfo.Uses[sel.Sel]; v.Pkg() {
			case l.api.Types:
				name = declared[v.Name()]
			case l.runtime.Types:
				name = general[v.Name()]
			}
		}
	}
	if name == "" {
		return
	}
	for _, e := range clause.List {
		if sel, ok := e.(*ast.SelectorExpr); ok {
			t.wire[sel.Sel.Name] = name
		}
	}
}
