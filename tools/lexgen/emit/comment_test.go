package emit

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/dave/jennifer/jen"
)

// FuzzComment puts any text into a comment and requires that nothing but the
// comment comes out.
func FuzzComment(f *testing.F) {
	for _, s := range []string{"", "a\nfunc init() {}", "*/ x", "//go:build ignore", "\r\n\u2028\u2029\u0085\v\f", "\x00\ufeff\u202e", "/*", "line //line x:1", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		file := jen.NewFile("p")
		file.NoFormat = true
		file.Add(doc("X is x.", text), jen.Type().Id("X").Int())
		src := file.GoString()
		parsed, err := parser.ParseFile(token.NewFileSet(), "x.go", src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		if err := comparePlan(parsed, []string{"X"}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(strings.TrimSpace(src), "\n") {
			// jennifer leaves layout to gofmt.
			line = strings.TrimSpace(line)
			if line != "" && line != "//" && !strings.HasPrefix(line, "// ") && line != "package p" && line != "type X int" {
				t.Fatalf("stray line %q", line)
			}
		}
	})
}
