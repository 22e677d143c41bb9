package main

import (
	"errors"
	"fmt"
	"go/constant"
	"go/types"
	"slices"
	"strings"

	"golang.org/x/tools/go/packages"
	"golang.org/x/tools/go/ssa"
	"golang.org/x/tools/go/ssa/ssautil"
)

// where says which packages and names the check is about.
type where struct {
	dir string
	// module is the path whose code is followed.
	module string
	// domain has the type Kind, api the Service interface and the method table, handlers the type
	// Handlers and the table of names, runtime the type Error and the general errors.
	domain, api, handlers, runtime string
	// roots are further packages that are loaded, so that what they put together is known.
	roots []string
	// overlay replaces files.
	overlay map[string][]byte
}

// server is this repository's.
func server(dir string) where {
	const domain = "mls-server/internal/mls"
	return where{
		dir: dir, module: strings.TrimSuffix(domain, "/internal/mls"), domain: domain, api: "mls-server/internal/gen/mlsapi",
		handlers: "mls-server/internal/handlers", runtime: "mls-server/lexrt", roots: []string{"mls-server/cmd/mls-server"},
	}
}

func (w where) inside(path string) bool {
	return path == w.module || strings.HasPrefix(path, w.module+"/")
}

// loaded is the program in SSA form and the packages that the check is about.
type loaded struct {
	where
	program                        *ssa.Program
	built                          []*ssa.Package
	domain, api, handlers, runtime *packages.Package
}

func load(w where) (*loaded, error) {
	config := &packages.Config{
		Dir: w.dir, Overlay: w.overlay,
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedCompiledGoFiles | packages.NeedImports |
			packages.NeedTypes | packages.NeedSyntax | packages.NeedTypesInfo | packages.NeedTypesSizes | packages.NeedExportFile,
	}
	names, err := packages.Load(&packages.Config{Dir: w.dir, Overlay: w.overlay, Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps}, append(w.roots, w.handlers)...)
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	var own []string
	packages.Visit(names, nil, func(p *packages.Package) {
		if w.inside(p.PkgPath) {
			own = append(own, p.PkgPath)
		}
	})
	all, err := packages.Load(config, own...)
	if err != nil {
		return nil, fmt.Errorf("load packages: %w", err)
	}
	var faults []error
	for _, p := range all {
		for _, e := range p.Errors {
			faults = append(faults, e)
		}
	}
	if faults != nil {
		return nil, errors.Join(faults...)
	}
	l := &loaded{where: w}
	l.program, l.built = ssautil.Packages(all, ssa.InstantiateGenerics)
	l.program.Build()
	for name, p := range map[string]**packages.Package{
		w.domain: &l.domain, w.api: &l.api, w.handlers: &l.handlers, w.runtime: &l.runtime,
	} {
		i := slices.IndexFunc(all, func(p *packages.Package) bool { return p.PkgPath == name })
		if i < 0 {
			return nil, fmt.Errorf("package %s is not used", name)
		}
		*p = all[i]
	}
	return l, nil
}

// functions are those of the module that can be called as they are: generic ones only as instances.
func (l *loaded) functions() (out []*ssa.Function) {
	for fn := range ssautil.AllFunctions(l.program) {
		if len(fn.Blocks) > 0 && fn.Parent() == nil && fn.Synthetic == "" && (fn.TypeParams().Len() == 0 || len(fn.TypeArgs()) > 0) {
			out = append(out, fn)
		}
	}
	for _, p := range l.built {
		out = append(out, p.Func("init"))
	}
	slices.SortFunc(out, func(a, b *ssa.Function) int { return strings.Compare(a.String(), b.String()) })
	return out
}

// newFlow prepares the analysis of a program.
func newFlow(l *loaded) (*flow, error) {
	kind := l.domain.Types.Scope().Lookup("Kind")
	if kind == nil {
		return nil, fmt.Errorf("package %s has no type Kind", l.domain.PkgPath)
	}
	f := &flow{
		program: l.program, inside: l.inside, kind: kind.Type(), kinds: map[string]string{}, numbers: map[any]int{},
		atoms: atoms{index: map[string]int32{}}, frames: map[string]*frame{}, contexts: map[*ssa.Function]int{}, methods: map[string][]*ssa.Function{},
		facts: map[*ssa.Function]facts{}, carries: map[types.Type]bool{},
		dynamic: l.program.RuntimeTypes(),
	}
	f.failure, _ = types.Universe.Lookup("error").Type().Underlying().(*types.Interface)
	scope := l.domain.Types.Scope()
	for _, name := range scope.Names() {
		c, ok := scope.Lookup(name).(*types.Const)
		if ok && c.Exported() && types.Identical(c.Type(), f.kind) && c.Val().Kind() == constant.Int {
			f.kinds[c.Val().ExactString()] = name
		}
	}
	return f, nil
}
