package verify_test

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"mls-server/tools/lexgen/verify"
)

var update = flag.Bool("update", false, "rewrite the embedded declarations")

// TestRuntimeDeclarations compares the embedded declarations with the runtime package.
func TestRuntimeDeclarations(t *testing.T) {
	t.Parallel()
	exports := map[string]string{}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", verify.Runtime).Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		exports[path] = file
	}
	imp := importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	pkg, err := imp.Import(verify.Runtime)
	if err != nil {
		t.Fatal(err)
	}
	got, err := declarations(pkg)
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	want, err := os.ReadFile("lexrt.txt")
	if *update {
		err = os.WriteFile("lexrt.txt", got, 0o600)
		want = got
	}
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("lexrt.txt is not what the runtime package declares; run go test ./verify -update")
	}
}

// declarations writes the exported declarations of p, with types of foreign
// modules reduced to what they are made of.
func declarations(p *types.Package) ([]byte, error) {
	imports := map[string]string{}
	var b bytes.Buffer
	qualify := func(q *types.Package) string {
		if q == p {
			return ""
		}
		imports[q.Path()] = q.Name()
		return q.Name()
	}
	for _, name := range p.Scope().Names() {
		obj := p.Scope().Lookup(name)
		if !obj.Exported() {
			continue
		}
		switch obj := obj.(type) {
		case *types.Const:
			fmt.Fprintf(&b, "const %s %s = %s\n", name, constType(obj.Type(), qualify), obj.Val().ExactString())
		case *types.Var:
			fmt.Fprintf(&b, "var %s %s\n", name, types.TypeString(obj.Type(), qualify))
		case *types.Func:
			fmt.Fprintf(&b, "%s { panic(0) }\n", types.ObjectString(obj, qualify))
		case *types.TypeName:
			typeDecl(&b, p, obj, qualify)
		}
	}
	var head bytes.Buffer
	fmt.Fprintf(&head, "package %s\n\n", p.Name())
	for _, path := range slices.Sorted(maps.Keys(imports)) {
		fmt.Fprintf(&head, "import %q\n", path)
	}
	head.WriteString("\n")
	return format.Source(append(head.Bytes(), b.Bytes()...))
}

func constType(t types.Type, q types.Qualifier) string {
	if basic, ok := t.(*types.Basic); ok && basic.Info()&types.IsUntyped != 0 {
		return ""
	}
	return types.TypeString(t, q)
}

func typeDecl(b *bytes.Buffer, p *types.Package, obj *types.TypeName, q types.Qualifier) {
	named, ok := types.Unalias(obj.Type()).(*types.Named)
	if !ok {
		fmt.Fprintf(b, "type %s = %s\n", obj.Name(), types.TypeString(types.Unalias(obj.Type()), q))
		return
	}
	if named.Obj().Pkg() != p {
		// A type of another module: what it is made of is all that generated code relies on.
		fmt.Fprintf(b, "type %s %s\nfunc (%s) String() string { panic(0) }\n", obj.Name(), plain(named.Underlying(), q), obj.Name())
		return
	}
	params, args := "", ""
	if tp := named.TypeParams(); tp.Len() > 0 {
		var ps, as []string
		for p := range tp.TypeParams() {
			ps = append(ps, p.Obj().Name()+" "+types.TypeString(p.Constraint(), q))
			as = append(as, p.Obj().Name())
		}
		params, args = "["+strings.Join(ps, ", ")+"]", "["+strings.Join(as, ", ")+"]"
	}
	fmt.Fprintf(b, "type %s%s %s\n", obj.Name(), params, plain(named.Underlying(), q))
	for m := range named.Methods() {
		if !m.Exported() {
			continue
		}
		sig := m.Signature()
		star := ""
		if _, ok := sig.Recv().Type().(*types.Pointer); ok {
			star = "*"
		}
		fmt.Fprintf(b, "func (%s%s%s) %s%s { panic(0) }\n", star, obj.Name(), args, m.Name(), strings.TrimPrefix(types.TypeString(sig, q), "func"))
	}
}

// plain is t without unexported fields.
func plain(t types.Type, q types.Qualifier) string {
	s, ok := t.(*types.Struct)
	if !ok {
		return types.TypeString(t, q)
	}
	var fields []*types.Var
	for f := range s.Fields() {
		if f.Exported() {
			fields = append(fields, f)
		}
	}
	return types.TypeString(types.NewStruct(fields, nil), q)
}

// TestPackage refuses what does not compile.
func TestPackage(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		source string
		bodies bool
		want   string
	}{
		"good":          {"import rt \"other/rt\"\ntype A struct { B rt.DID }\nfunc f(f *rt.Fields) { f.Type(\"x\") }", true, ""},
		"twice":         {"type A struct{}\ntype A struct{}", false, "A redeclared"},
		"field, method": {"type A struct{ B int }\nfunc (A) B() {}", false, "field and method with the same name B"},
		"no such type":  {"import rt \"other/rt\"\nvar x rt.Nothing", false, "undefined: rt.Nothing"},
		"bad body":      {"func f() int { return \"\" }", true, "cannot use"},
		"body unseen":   {"func f() int { return \"\" }", false, ""},
		"strange":       {"import \"os\"\nvar x = os.Args", true, "does not import os"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, "a.go", "package p\n"+c.source, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			err = verify.Package(verify.Code{Fset: fset, Path: "example.com/p", Runtime: "other/rt", Files: []*ast.File{f}}, c.bodies)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}
