package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// noteOfOthers is a record that has much of other people's lexicons in it: objects, arrays, named
// sets of values and arrays, and members of unions.
const noteOfOthers = `{"lexicon": 1, "id": "com.example.note", "defs": {
	"main": {"type": "record", "key": "tid", "record": {"type": "object", "required": ["text"], "properties": {
		"text": {"type": "string", "maxLength": 1000},
		"about": {"type": "ref", "ref": "org.other.link"},
		"seen": {"type": "array", "items": {"type": "ref", "ref": "org.other.link"}},
		"reason": {"type": "ref", "ref": "org.other.defs#reason"},
		"prefs": {"type": "ref", "ref": "org.other.defs#prefs"},
		"embed": {"type": "union", "refs": ["#tag", "org.other.link", "org.other.post"]},
		"closed": {"type": "union", "closed": true, "refs": ["org.other.link", "org.other.defs#dark"]}}}},
	"tag": {"type": "object", "properties": {"name": {"type": "string"}}}}}`

const getOfOthers = `{"lexicon": 1, "id": "com.example.getNote", "defs": {"main": {"type": "query",
	"parameters": {"type": "params", "required": ["uri"], "properties": {"uri": {"type": "string", "format": "at-uri"}}},
	"output": {"encoding": "application/json", "schema": {"type": "ref", "ref": "org.other.link"}}}}}`

var othersLexicons = lexicons{
	"org/other/link.json": `{"lexicon": 1, "id": "org.other.link", "defs": {"main": {"type": "object", "required": ["uri"], "properties": {
		"uri": {"type": "string", "format": "at-uri"}, "how": {"type": "ref", "ref": "org.other.defs#reason"}}}}}`,
	"org/other/defs.json": `{"lexicon": 1, "id": "org.other.defs", "defs": {
		"reason": {"type": "string", "knownValues": ["spam", "joke"], "maxLength": 30},
		"prefs": {"type": "array", "maxLength": 5, "items": {"type": "union", "refs": ["#dark", "#loud"]}},
		"dark": {"type": "object", "properties": {"on": {"type": "boolean"}}},
		"loud": {"type": "object", "properties": {"level": {"type": "integer", "minimum": 1}}},
		"unused": {"type": "object", "properties": {"x": {"type": "string"}}}}}`,
	"org/other/post.json": `{"lexicon": 1, "id": "org.other.post", "defs": {"main": {"type": "record", "key": "tid", "record": {"type": "object", "properties": {
		"title": {"type": "string", "maxLength": 10}}}}}}`,
	"org/other/getPost.json": `{"lexicon": 1, "id": "org.other.getPost", "defs": {"main": {"type": "query", "errors": [{"name": "PostNotFound"}]}}}`,
	"org/other/broken.json":  `{"lexicon": 1, "id": "org.other.broken", "defs": {"main": {"type": "object", "properties": {"a": {"type": "ref", "ref": "org.gone"}}}}}`,
}

// ofOthers is a project whose lexicons refer to those of others, in the folder "others".
func ofOthers(t *testing.T, config string) (dir, file string) {
	t.Helper()
	dir = tempModule(t, "x")
	lexicons{"com/example/note.json": noteOfOthers, "com/example/getNote.json": getOfOthers}.write(t, dir, "x")
	for name, text := range othersLexicons {
		put(t, filepath.Join(dir, "others", filepath.FromSlash(name)), []byte(text))
	}
	file = filepath.Join(dir, projectFile)
	put(t, file, []byte(config))
	return dir, file
}

func generate(t *testing.T, file string) {
	t.Helper()
	var errs bytes.Buffer
	if code := run([]string{"gen", "--quiet", "--verify", "--config", file}, io.Discard, &errs); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs.String())
	}
	if code := run([]string{"check", "--quiet", "--config", file}, io.Discard, &errs); code != 0 {
		t.Fatalf("check: exit code %d: %s", code, errs.String())
	}
}

// TestDeps: of the lexicons of others as much is generated as the own ones refer to, and no method.
// What is broken there and not needed is nobody's business.
func TestDeps(t *testing.T) {
	t.Parallel()
	dir, file := ofOthers(t, `{"in": "lexicons", "deps": ["others"], "prefix": "com.example", "packages": [
		{"out": "api", "package": "api", "module": "x/api", "handlers": "handlers", "fakes": true, "docs": "docs", "openapi": "openapi.json", "client": "client"}]}`)
	generate(t, file)
	for name, want := range map[string]bool{
		"org_other_link.go": true, "org_other_defs.go": true, "org_other_post.go": true, "org_other_getpost.go": false, "imports.go": false, "errors.go": false,
	} {
		if exists(t, filepath.Join(dir, "api", name)) != want {
			t.Errorf("%s is there: %v", name, !want)
		}
	}
	if defs, err := os.ReadFile(filepath.Join(dir, "api/org_other_defs.go")); err != nil || bytes.Contains(defs, []byte("OrgOtherDefsUnused")) {
		t.Errorf("%v: what nothing refers to was generated", err)
	}
	goTool(t, dir, "vet", "./api/...", "./client", "./handlers")
	var out, errs bytes.Buffer
	if code := run([]string{"lint", "--in", filepath.Join(dir, "lexicons"), "--deps", filepath.Join(dir, "others")}, &out, &errs); code != 0 || !strings.Contains(out.String(), "2 lexicons") ||
		strings.Contains(out.String(), "org/other") {
		t.Errorf("lint: %d %s%s", code, out.String(), errs.String())
	}
	out.Reset()
	if code := run([]string{"breaking", "--in", filepath.Join(dir, "lexicons"), "--against", filepath.Join(dir, "lexicons"), "--deps", filepath.Join(dir, "others")}, &out, &errs); code != 0 {
		t.Errorf("breaking: %d %s%s", code, out.String(), errs.String())
	}
}

// TestImport: types of others are those of the package that was made of their lexicons, also as
// members of unions.
func TestImport(t *testing.T) {
	t.Parallel()
	dir, file := ofOthers(t, `{"packages": [
		{"in": "others", "exclude": ["org/other/broken.json"], "out": "org/official", "package": "other", "module": "x/org/official", "target": "types"},
		{"in": "lexicons", "prefix": "com.example", "deps": ["others"], "import": ["org.other.*=x/org/official#"],
		 "out": "api", "package": "api", "module": "x/api", "handlers": "handlers", "fakes": true, "docs": "docs", "openapi": "openapi.json", "client": "client"}]}`)
	generate(t, file)
	if exists(t, filepath.Join(dir, "api/org_other_link.go")) || !exists(t, filepath.Join(dir, "api/imports.go")) {
		t.Error("what is elsewhere was generated again")
	}
	put(t, filepath.Join(dir, "api/own_test.go"), []byte(`package api_test

import (
	"encoding/json"
	"math/rand/v2"
	"testing"

	"x/api"
	"x/api/apifake"
	other "x/org/official"
)

const note = `+"`"+`{"$type":"com.example.note","text":"t","about":{"uri":"at://did:plc:abc/a.b.c/d","how":"joke"},"reason":"spam",`+"`"+` +
	`+"`"+`"prefs":[{"$type":"org.other.defs#loud","level":3}],"embed":{"$type":"org.other.post","title":"x"},"closed":{"$type":"org.other.link","uri":"at://did:plc:abc/a.b.c/d"}}`+"`"+`

func Test(t *testing.T) {
	var n api.Note
	if err := n.UnmarshalJSON([]byte(note)); err != nil {
		t.Fatal(err)
	}
	var about other.OrgOtherLink = *n.About
	if l, ok := n.Closed.(*api.OrgOtherLink); !ok || l.OrgOtherLink.URI != about.URI {
		t.Errorf("%#v", n.Closed)
	}
	if *n.Reason != other.OrgOtherDefsReasonSpam || n.Prefs[0].(*other.OrgOtherDefsLoud).Level == nil {
		t.Errorf("%#v", n)
	}
	got, err := json.Marshal(n)
	if err != nil || string(got) != note {
		t.Errorf("%v %s", err, got)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for name, make := range apifake.Types {
		if err := apifake.Schemas.RoundTrip(name, rng, 50, make); err != nil {
			t.Error(err)
		}
		if n, err := apifake.Schemas.Refusals(name, rng, make); err != nil || n == 0 && name == "Note" {
			t.Error(n, err)
		}
	}
}
`))
	goTool(t, dir, "vet", "./...")
	goTool(t, dir, "test", "./api")
}

// TestPackagesOfOneFolder: the packages of one file import each other.
func TestPackagesOfOneFolder(t *testing.T) {
	t.Parallel()
	official := t.TempDir()
	for _, s := range corpus(t) {
		put(t, filepath.Join(official, filepath.FromSlash(s.Path)), s.Data)
	}
	dir, file := ofOthers(t, strings.ReplaceAll(`{"in": "OFFICIAL", "target": "client", "packages": [
		{"only": ["com.atproto.*"], "prefix": "com.atproto", "out": "atproto", "package": "atproto", "module": "x/atproto"},
		{"only": ["app.bsky.*", "chat.bsky.*"], "prefix": "app.bsky", "out": "bsky", "package": "bsky", "module": "x/bsky"},
		{"only": ["tools.ozone.*"], "prefix": "tools.ozone", "out": "ozone", "package": "ozone", "module": "x/ozone"}]}`, "OFFICIAL", filepath.ToSlash(official)))
	generate(t, file)
	for name, want := range map[string]string{
		"bsky/feed_post.go": `"x/atproto"`, "ozone/moderation_defs.go": `"x/bsky"`, "ozone/imports.go": " struct {\n\tatproto.",
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s has no %s: %v", name, want, err)
		}
	}
}

func TestImportProblems(t *testing.T) {
	t.Parallel()
	const out = `"out": "api", "package": "api", "module": "x/api"`
	for config, want := range map[string]string{
		`{"in": "lexicons", "packages": [{` + out + `}]}`:                                                       "--deps",
		`{"in": "lexicons", "import": ["org.other.*"], "packages": [{` + out + `}]}`:                            "NSID=PATH",
		`{"in": "lexicons", "deps": ["nowhere"], "packages": [{` + out + `}]}`:                                  "nowhere",
		`{"in": "lexicons", "deps": ["others"], "only": ["com.example.tag"], "packages": [{` + out + `}]}`:      "no lexicon com.example.tag",
		`{"in": "lexicons", "deps": ["others"], "import": ["org.other.link=x/y"], "packages": [{` + out + `}]}`: "[import-cycle]",
	} {
		_, file := ofOthers(t, config)
		var errs bytes.Buffer
		if code := run([]string{"gen", "--config", file}, io.Discard, &errs); code == 0 || !strings.Contains(errs.String(), want) {
			t.Errorf("%s: exit code %d, want %s: %.2000s", config, code, want, errs.String())
		}
	}
}

// TestImportNames: what the names of an imported package leave out.
func TestImportNames(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct{ path, prefix string }{
		"com.atproto.*=example.com/api":            {"example.com/api", "com.atproto"},
		"com.atproto.*=example.com/api#":           {"example.com/api", ""},
		"com.atproto.*=example.com/api#com":        {"example.com/api", "com"},
		"com.atproto.repo.strongRef=example.com/a": {"example.com/a", "com.atproto.repo.strongRef"},
		"com.atproto.*":                            {}, "=example.com/api": {}, "com.atproto.*=": {}, "com.atproto.*=a b": {},
	} {
		e, ok := parseImport(text)
		if ok != (want.path != "") || ok && (e.Path != want.path || e.Prefix != want.prefix) {
			t.Errorf("%s: %v, %q with the prefix %q", text, ok, e.Path, e.Prefix)
		}
	}
	e, _ := parseImport("com.atproto.*=example.com/api")
	for id, want := range map[string]bool{"com.atproto.repo.strongRef": true, "com.atproto": false, "com.atprotocol.x": false, "app.bsky.feed.post": false} {
		if e.Has(id) != want {
			t.Errorf("%s is there: %v", id, !want)
		}
	}
}
