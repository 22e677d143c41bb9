package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oddLexicons have every shape of body, and names that the client has itself.
var oddLexicons = map[string]string{
	"com/example/client.json": `{"lexicon":1,"id":"com.example.client","defs":{"main":{"type":"object","properties":{}},"new":{"type":"token","description":"*/ //go:build ignore"},"url":{"type":"string","knownValues":["a"]}}}`,
	"com/example/new.json":    `{"lexicon":1,"id":"com.example.new","defs":{"main":{"type":"record","key":"tid","record":{"type":"object","properties":{}}}}}`,
	"com/example/getBytes.json": `{"lexicon":1,"id":"com.example.getBytes","defs":{"main":{"type":"query","description":"line\n//go:embed x\u2028*/ func","parameters":{"type":"params","properties":{"context":{"type":"string"}}},
		"output":{"encoding":"*/*"}}}}`,
	"com/example/putBytes.json":   `{"lexicon":1,"id":"com.example.putBytes","defs":{"main":{"type":"procedure","input":{"encoding":"image/*"},"output":{"encoding":"application/json"}}}}`,
	"com/example/putNothing.json": `{"lexicon":1,"id":"com.example.putNothing","defs":{"main":{"type":"procedure"}}}`,
	"com/example/echoBytes.json":  `{"lexicon":1,"id":"com.example.echoBytes","defs":{"main":{"type":"procedure","input":{"encoding":"application/json","schema":{"type":"object","properties":{}}},"output":{"encoding":"image/png"}}}}`,
	"com/example/sendBytes.json":  `{"lexicon":1,"id":"com.example.sendBytes","defs":{"main":{"type":"procedure","input":{"encoding":"image/png"}}}}`,
	"com/example/putUnion.json": `{"lexicon":1,"id":"com.example.putUnion","defs":{"main":{"type":"procedure","input":{"encoding":"application/json","schema":{"type":"union","refs":["com.example.client"]}},
		"output":{"encoding":"application/json","schema":{"type":"union","refs":["com.example.client"]}}}}}`,
	"com/example/putAny.json": `{"lexicon":1,"id":"com.example.putAny","defs":{"main":{"type":"procedure","parameters":{"type":"params","properties":{"in":{"type":"integer"}}},"input":{"encoding":"application/json"}}}}`,
	"com/example/getEvents.json": `{"lexicon":1,"id":"com.example.getEvents","defs":{"main":{"type":"query","output":{"encoding":"text/event-stream","schema":{"type":"ref","ref":"com.example.client"}},
		"errors":[{"name":"Gone"}]}}}`,
	"com/example/subscribeThings.json": `{"lexicon":1,"id":"com.example.subscribeThings","defs":{"main":{"type":"subscription","message":{"schema":{"type":"union","refs":["#a"]}}},"a":{"type":"object","properties":{}}}}`,
}

// TestReference writes all outputs for odd lexicons, builds the client, and checks what check says.
func TestReference(t *testing.T) {
	t.Parallel()
	dir := tempModule(t, "odd")
	for name, text := range oddLexicons {
		put(t, filepath.Join(dir, "lexicons", filepath.FromSlash(name)), []byte(text))
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	flags := []string{
		"--in", at("lexicons"), "--out", at("api"), "--package", "api", "--module", "odd/api", "--prefix", "com.example",
		"--docs", at("docs"), "--openapi", at("docs/openapi.json"), "--client", at("url"), "--client-package", "url",
	}
	call := func(command string) (int, string) {
		var out bytes.Buffer
		code := run(append([]string{command}, flags...), &out, &out)
		return code, out.String()
	}
	if code, out := call("gen"); code != 0 {
		t.Fatalf("gen: exit %d\n%s", code, out)
	}
	goTool(t, dir, "vet", "./...")
	if code, out := call("check"); code != 0 {
		t.Errorf("check after gen: exit %d\n%s", code, out)
	}
	if code, out := call("gen"); code != 0 || !strings.Contains(out, "nothing changed") {
		t.Errorf("a second gen: exit %d\n%s", code, out)
	}

	put(t, at("docs/putAny.md"), append([]byte("x"), read(t, at("docs/putAny.md"))...))
	put(t, at("docs/old.md"), read(t, at("docs/README.md")))
	put(t, at("docs/mine.md"), []byte("# mine\n"))
	if err := os.Remove(at("url/types.go")); err != nil {
		t.Fatal(err)
	}
	code, out := call("check")
	for _, want := range []string{"docs/putAny.md is out of date", "docs/old.md should not be there", "url/types.go is missing"} {
		if code != 1 || !strings.Contains(out, want) {
			t.Errorf("check: exit %d without %q:\n%s", code, want, out)
		}
	}
	if strings.Contains(out, "mine.md") {
		t.Errorf("check minds a page that is not ours:\n%s", out)
	}
	if code, out := call("gen"); code != 0 {
		t.Errorf("gen: exit %d\n%s", code, out)
	}
	if _, err := os.Stat(at("docs/old.md")); err == nil {
		t.Error("a stale page was left")
	}
	read(t, at("docs/mine.md"))

	put(t, at("url/client.go"), []byte("package url\n"))
	if code, out := call("gen"); code != 1 || !strings.Contains(out, "was not written by lexgen") {
		t.Errorf("gen over a file of someone else: exit %d\n%s", code, out)
	}
	if string(read(t, at("url/client.go"))) != "package url\n" {
		t.Error("a file of someone else was overwritten")
	}
	flags = append(flags, "--client-package", "not a name")
	if code, _ := call("gen"); code != 2 {
		t.Errorf("a bad package name: exit %d", code)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestCommandsAreWired calls the commands that live in packages of their own.
func TestCommandsAreWired(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"new", "com.example.getThing", "--in", dir}, 0, "getThing.json"},
		{[]string{"new", "com.example.getThing", "--in", dir}, 1, "exists already"},
		{[]string{"lint", "--in", dir}, 0, "1 lexicon: 0 errors"},
		{[]string{"breaking", "--in", dir, "--against", dir}, 0, "0 forbidden"},
		{[]string{"breaking", "--in", dir}, 2, "--against is missing"},
		{[]string{"explain", "name-verb", "field-removed"}, 0, "A field is gone"},
		{[]string{"explain", "name-verbs"}, 2, "did you mean name-verb?"},
		{[]string{"explain"}, 0, "breaking finds:"},
		{[]string{"help"}, 0, "breaking"},
	} {
		var out bytes.Buffer
		if code := run(c.args, &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%v: exit %d, want %d and %q\n%s", c.args, code, c.code, c.want, out.String())
		}
	}
}
