package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// lexicons is a folder of lexicons by their paths.
type lexicons map[string]string

// write puts the lexicons into dir/lexicons and returns the flags of gen.
func (l lexicons) write(t *testing.T, dir, module string) []string {
	t.Helper()
	for name, text := range l {
		put(t, filepath.Join(dir, "lexicons", name), []byte(text))
	}
	return []string{"--in", filepath.Join(dir, "lexicons"), "--out", filepath.Join(dir, "api"), "--package", "api", "--module", module + "/api", "--prefix", "com.example"}
}

const (
	noteLexicon  = `{"lexicon":1,"id":"com.example.note","defs":{"main":{"type":"record","key":"tid","record":{"type":"object","properties":{"text":{"type":"string"}}}}}}`
	brokenString = `{"lexicon":1,"id":"com.example.broken","defs":{"main":{"type":"object","properties":{"s":{"type":"string","maxLength":"1"}}}}}`
	usesBroken   = `{"lexicon":1,"id":"com.example.uses","defs":{"main":{"type":"object","properties":{"b":{"type":"ref","ref":"com.example.broken"}}}}}`
	usesUses     = `{"lexicon":1,"id":"com.example.usesUses","defs":{"main":{"type":"object","properties":{"l":{"type":"array","items":{"type":"union","refs":["com.example.uses","com.example.note"]}}}}}}`
	dangling     = `{"lexicon":1,"id":"com.example.dangling","defs":{"main":{"type":"object","properties":{"s":{"type":"ref","ref":"com.atproto.repo.strongRef"}}}}}`
	feedView     = `{"lexicon":1,"id":"com.example.feedView","defs":{"main":{"type":"object","properties":{}}}}`
	feedDotView  = `{"lexicon":1,"id":"com.example.feed.view","defs":{"main":{"type":"object","properties":{}}}}`
)

func exists(t *testing.T, name string) bool {
	t.Helper()
	_, err := os.Stat(name)
	return err == nil
}

// TestKeepGoing has lexicons with errors of every kind beside sound ones.
func TestKeepGoing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cli := &cli{dir: dir, args: lexicons{
		"com/example/note.json": noteLexicon, "com/example/broken.json": brokenString, "com/example/uses.json": usesBroken,
		"com/example/usesUses.json": usesUses, "com/example/dangling.json": dangling, "com/example/cut.json": `{"lexicon":1,`,
		"com/example/feedView.json": feedView, "com/example/feed/view.json": feedDotView,
	}.write(t, dir, "x")}
	if code, _, _ := cli.run("gen"); code != 1 || exists(t, filepath.Join(dir, "api")) {
		t.Fatalf("exit code %d, or something was written", code)
	}
	code, _, errs := cli.run("gen", "--keep-going")
	for name, want := range map[string]bool{
		"note.go": true, "feed_view.go": true, "broken.go": false, "uses.go": false, "usesuses.go": false, "dangling.go": false, "feedview.go": false,
	} {
		if exists(t, filepath.Join(dir, "api", name)) != want {
			t.Errorf("%s: written is not %t", name, want)
		}
	}
	for _, want := range []string{"are left out", "[json]", "[ref-unknown]", "[type]", "[name-collision]"} {
		if code != 1 || !strings.Contains(errs, want) {
			t.Errorf("exit code %d, %s is not told:\n%s", code, want, errs)
		}
	}
	if code, _, errs := cli.run("check", "--keep-going"); code != 1 || strings.Contains(errs, "run lexgen gen") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// TestKeepGoingNeedsLexicons has errors that no lexicon can be left out for.
func TestKeepGoingNeedsLexicons(t *testing.T) {
	t.Parallel()
	for name, l := range map[string]lexicons{
		"none is sound": {"com/example/broken.json": brokenString},
		"policy":        {"com/example/note.json": noteLexicon, "../policy.json": `{"methods":{"com.example.none":{}}}`},
	} {
		dir := t.TempDir()
		cli := &cli{dir: dir, args: l.write(t, dir, "x")}
		more := []string{"--keep-going"}
		if name == "policy" {
			more = append(more, "--policy", filepath.Join(dir, "policy.json"))
		}
		if code, _, errs := cli.run("gen", more...); code != 1 || errs == "" || exists(t, filepath.Join(dir, "api")) {
			t.Errorf("%s: exit code %d: %s", name, code, errs)
		}
	}
}

func TestExclude(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cli := &cli{dir: dir, args: lexicons{
		"com/example/note.json": noteLexicon, "com/example/broken.json": brokenString, "drafts/com/example/feedView.json": feedView,
	}.write(t, dir, "x")}
	for _, exclude := range [][]string{
		{"--exclude", "com/example/broken.json", "--exclude", "drafts"},
		{"--exclude", "*/example/brok*.json", "--exclude", "d*"},
	} {
		if code, _, errs := cli.run("gen", exclude...); code != 0 || exists(t, filepath.Join(dir, "api/feedview.go")) {
			t.Errorf("%v: exit code %d: %s", exclude, code, errs)
		}
	}
	if code, _, errs := cli.run("gen", "--exclude", "[a"); code != 2 || !strings.Contains(errs, "--exclude") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	var out, errs strings.Builder
	if code := run([]string{"lint", "--in", filepath.Join(dir, "lexicons"), "--exclude", "com/example/broken.json"}, &out, &errs); code != 0 {
		t.Errorf("lint: exit code %d: %s%s", code, out.String(), errs.String())
	}
}

// TestNewProjectServes makes a server of one lexicon in an empty module: what gen writes is
// complete, lexhttp serves it, and the client of the same lexicon reaches its handler.
func TestNewProjectServes(t *testing.T) {
	t.Parallel()
	module := tempModule(t, "notes")
	cli := &cli{dir: module, args: append(
		lexicons{"com/example/getNote.json": exampleLexicon}.write(t, module, "notes"),
		"--handlers", filepath.Join(module, "handlers"), "--client", filepath.Join(module, "client"),
	)}
	cli.mustGen(t)
	for name, want := range map[string]string{"handlers.go": "var _ api.Service = (*Handlers)(nil)", "getnote.go": "func (h *Handlers) GetNote("} {
		data, err := os.ReadFile(filepath.Join(module, "handlers", name))
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%v\n%s", err, data)
		}
	}
	if out := cli.mustGen(t); strings.Contains(out, "new handler") {
		t.Error(out)
	}
	put(t, filepath.Join(module, "serve_test.go"), []byte(`package notes

import (
	"errors"
	"net/http/httptest"
	"testing"

	"mls-server/lexrt"
	"mls-server/lexrt/lexhttp"

	"notes/api"
	"notes/client"
	"notes/handlers"
)

func TestServe(t *testing.T) {
	mux := lexhttp.New(lexhttp.Options{Authenticate: lexhttp.Anyone})
	api.Mount(mux, &handlers.Handlers{})
	server := httptest.NewServer(mux)
	defer server.Close()
	c, err := client.New(server.URL, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.GetNote(t.Context()); !errors.Is(err, lexrt.ErrMethodNotImplemented) {
		t.Error(err)
	}
}
`))
	goTool(t, module, "vet", "./...")
	goTool(t, module, "test", "./...")
}

// TestMessagesByReference has a subscription whose messages are a named union, as some published
// lexicons do.
func TestMessagesByReference(t *testing.T) {
	t.Parallel()
	const subscription = `{"lexicon":1,"id":"com.example.subscribeNotes","defs":{"main":{"type":"subscription","message":{"schema":{"type":"ref","ref":"#payload"}}},
		"payload":{"type":"union","refs":["#a"]},"a":{"type":"object","properties":{"x":{"type":"string"}}}}}`
	module := tempModule(t, "messages")
	cli := &cli{dir: module, args: lexicons{"com/example/subscribeNotes.json": subscription}.write(t, module, "messages")}
	if code, _, errs := cli.run("gen"); code != 1 || !strings.Contains(errs, "[message-type]") {
		t.Errorf("exit code %d: %s", code, errs)
	}
	if code, _, errs := cli.run("gen", "--compat", "named-unions"); code != 0 {
		t.Fatal(errs)
	}
	goTool(t, module, "vet", "./...")
	data, err := os.ReadFile(filepath.Join(module, "api/service.go"))
	if err != nil || !strings.Contains(string(data), "Send(message SubscribeNotesPayload) error") {
		t.Errorf("%v\n%s", err, data)
	}
	const object = `{"lexicon":1,"id":"com.example.subscribeNotes","defs":{"main":{"type":"subscription","message":{"schema":{"type":"ref","ref":"#a"}}},
		"a":{"type":"object","properties":{}}}}`
	put(t, filepath.Join(module, "lexicons/com/example/subscribeNotes.json"), []byte(object))
	if code, _, errs := cli.run("gen", "--compat", "named-unions"); code != 1 || !strings.Contains(errs, "must be a union") {
		t.Errorf("exit code %d: %s", code, errs)
	}
}

// TestTargets writes no more of a package than it is asked for.
func TestTargets(t *testing.T) {
	t.Parallel()
	const watch = `{"lexicon":1,"id":"com.example.watch","defs":{"main":{"type":"subscription","message":{"schema":{"type":"union","refs":["#a"]}}},"a":{"type":"object","properties":{}}}}`
	for target, absent := range map[string][]string{
		"server": nil,
		"client": {"service.go", "mount.go"},
		"types":  {"service.go", "mount.go", "methods.go", "errors.go"},
	} {
		module := tempModule(t, "parts")
		cli := &cli{dir: module, args: append(lexicons{
			"com/example/getNote.json": exampleLexicon, "com/example/note.json": noteLexicon, "com/example/watch.json": watch,
		}.write(t, module, "parts"), "--target", target)}
		if target != "types" {
			cli.args = append(cli.args, "--client", filepath.Join(module, "client"))
		}
		cli.mustGen(t)
		goTool(t, module, "vet", "./...")
		for _, name := range []string{"service.go", "mount.go", "methods.go", "errors.go"} {
			if exists(t, filepath.Join(module, "api", name)) == slices.Contains(absent, name) {
				t.Errorf("%s: %s", target, name)
			}
		}
	}
	cli := newCLI(t)
	for _, args := range [][]string{{"--target", "everything"}, {"--target", "client"}, {"--target", "types"}} {
		if code, _, errs := cli.run("gen", args...); code != 2 {
			t.Errorf("%v: exit code %d: %s", args, code, errs)
		}
	}
}
