package sample

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atdata"
	indigo "github.com/bluesky-social/indigo/atproto/lexicon"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// TestOfficialLexicons validates the example of every object and record of the
// official lexicons, and of this server's, with indigo's own validator.
func TestOfficialLexicons(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bluesky-social/indigo").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"official": filepath.Join(strings.TrimSpace(string(out)), "lexicons"), "own": "../../../lexicons"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, diags, err := lexicon.Load(os.DirFS(dir), lexicon.Options{Exclude: []string{"policy.json"}, NamedUnions: true})
			if err != nil || diags.HasErrors() {
				t.Fatalf("%v %v", err, diags)
			}
			m, diags := ir.Build(set, ir.Options{})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			if n := check(t, dir, set, m); n < 10 {
				t.Errorf("only %d examples", n)
			}
		})
	}
}

func check(t *testing.T, dir string, set *lexicon.Set, m *ir.Model) int {
	t.Helper()
	cat := indigo.NewBaseCatalog()
	for _, f := range set.Files {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(f.Path)))
		if err != nil {
			t.Fatal(err)
		}
		add(t, cat, data)
	}
	n := 0
	for _, l := range m.Lexicons {
		for _, d := range l.Decls {
			s, ok := d.(*ir.Struct)
			if !ok || s.TypeName == "" {
				continue
			}
			n++
			text := JSON(&ir.Type{Kind: ir.StructKind, Struct: s})
			ref := s.TypeName
			if s.Role != ir.RoleRecord {
				// The validator takes records only, so the object becomes the field of one.
				ref = fmt.Sprintf("com.example.wrap%d", n)
				add(t, cat, fmt.Appendf(nil, `{"lexicon":1,"id":%q,"defs":{"main":{"type":"record","key":"any","record":{"type":"object","required":["v"],"properties":{"v":{"type":"ref","ref":%q}}}}}}`, ref, s.TypeName))
				text = fmt.Sprintf(`{"$type":%q,"v":%s}`, ref, text)
			}
			value, err := atdata.UnmarshalJSON([]byte(text))
			if err != nil {
				t.Errorf("%s: %v\n%s", s.TypeName, err, text)
				continue
			}
			err = indigo.ValidateRecord(cat, value, ref, 0)
			if err != nil && strings.Contains(err.Error(), "unhandled schema type: lexicon.SchemaRecord") {
				continue // indigo does not follow references to records
			}
			if err != nil {
				t.Errorf("%s: %v\n%s", s.TypeName, err, text)
			}
		}
	}
	return n
}

func add(t *testing.T, cat *indigo.BaseCatalog, data []byte) {
	t.Helper()
	var sf indigo.SchemaFile
	if err := json.Unmarshal(data, &sf); err != nil {
		t.Fatal(err)
	}
	if err := cat.AddSchemaFile(sf); err != nil {
		t.Fatal(err)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	set, diags := lexicon.Parse([]lexicon.Source{{Path: "com/example/getThing.json", Data: []byte(
		`{"lexicon":1,"id":"com.example.getThing","defs":{"main":{"type":"query","parameters":{"type":"params","required":["a","b","c&d"],"properties":{
			"a":{"type":"array","minLength":2,"items":{"type":"string","format":"did"}},"b":{"type":"boolean","const":false},"c&d":{"type":"string","const":"x y/é"},
			"limit":{"type":"integer","default":50},"o":{"type":"string"}}}}}}`)}}, lexicon.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	m, _ := ir.Build(set, ir.Options{})
	want := "a=did:plc:ewvi7nxzyoun6zhxrhs64oiz&a=did:plc:z72i7hdynmk6r22z27h6tvur&b=false&c%26d=x%20y/%C3%A9&limit=50"
	if got := Query(m.Methods[0].Params); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if Query(nil) != "" {
		t.Error("no parameters have a query string")
	}
}
