package emit

import (
	"go/token"
	"strings"
	"testing"

	"github.com/dave/jennifer/jen"
)

// What schema text could smuggle in is a declaration that nobody planned.
func TestOnlyPlannedDeclarations(t *testing.T) {
	t.Parallel()
	for want, build := range map[string]func(u *unit){
		"":         func(*unit) {},
		"+init":    func(u *unit) { u.file.Func().Id("init").Params().Block() },
		"+T.Extra": func(u *unit) { u.file.Func().Params(jen.Op("*").Id("T")).Id("Extra").Params().Block() },
		"+hidden":  func(u *unit) { u.file.Var().Id("hidden").Op("=").Lit(1) },
		"-Missing": func(u *unit) { u.planned = append(u.planned, "Missing") },
		"+a +b -One": func(u *unit) {
			u.planned = append(u.planned, "One")
			u.file.Const().Defs(jen.Id("a").Op("=").Lit(1), jen.Id("b").Op("=").Lit(2))
		},
	} {
		e := &emitter{opt: Options{Package: "p", ImportPath: "m/p", Runtime: "m/rt"}, fset: token.NewFileSet()}
		u := e.newUnit("p.go", nil)
		u.add("T", jen.Type().Id("T").Struct())
		build(u)
		_, err := u.finish()
		if (err == nil) != (want == "") || err != nil && !strings.HasSuffix(err.Error(), "plan: "+want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
