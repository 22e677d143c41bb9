package pull_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mls-server/lexrt/lexcbor"
	"mls-server/tools/lexgen/pull"
)

const alice = "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa"

// world is a DNS, a directory and a PDS on loopback, as truthful as a test wants them.
type world struct {
	*httptest.Server
	texts map[string][]string

	mu sync.Mutex
	// records has lexicons by NSID, document what the directory says of alice.
	records  map[string]string
	document string
	// change changes the PDS' answer, instead answers in its place.
	change  func(answer map[string]any)
	instead http.HandlerFunc
	asked   int
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{texts: map[string][]string{"_lexicon.example.com.": {"v=spf1", "did=" + alice}}, records: map[string]string{}}
	w.Server = httptest.NewServer(w)
	t.Cleanup(w.Close)
	w.document = document(alice, w.URL)
	return w
}

func document(did, pds string) string {
	return fmt.Sprintf(`{"id": %q, "service": [{"id": "#other", "type": "Other", "serviceEndpoint": ["x"]},
		{"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": %q}]}`, did, pds)
}

// LookupTXT implements pull.DNS.
func (w *world) LookupTXT(_ context.Context, name string) ([]string, error) {
	texts, ok := w.texts[name]
	if !ok {
		return nil, errors.New("no such host")
	}
	return texts, nil
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked++
	if r.URL.Path != "/xrpc/com.atproto.repo.getRecord" {
		_, _ = rw.Write([]byte(w.document))
		return
	}
	if w.instead != nil {
		w.instead(rw, r)
		return
	}
	q := r.URL.Query()
	record, ok := w.records[q.Get("rkey")]
	if !ok {
		http.Error(rw, `{"error":"RecordNotFound"}`, http.StatusBadRequest)
		return
	}
	answer := map[string]any{
		"uri": "at://" + q.Get("repo") + "/" + q.Get("collection") + "/" + q.Get("rkey"), "cid": cidOf(record), "value": json.RawMessage(record),
	}
	if w.change != nil {
		w.change(answer)
	}
	_ = json.NewEncoder(rw).Encode(answer)
}

func cidOf(record string) string {
	block, err := lexcbor.FromJSON([]byte(record))
	if err != nil {
		return "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a"
	}
	return string(lexcbor.CID(block))
}

// publish makes a lexicon that refers to others.
func (w *world) publish(nsid string, refs ...string) {
	properties := map[string]any{"text": map[string]any{"type": "string", "knownValues": []string{"a#b", "com.example.tokens#on"}}}
	for i, ref := range refs {
		properties[fmt.Sprintf("p%d", i)] = map[string]any{"type": "ref", "ref": ref}
	}
	record, err := json.Marshal(map[string]any{
		"$type": "com.atproto.lexicon.schema", "lexicon": 1, "id": nsid,
		"defs": map[string]any{"main": map[string]any{"type": "object", "properties": properties}},
	})
	if err != nil {
		panic(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records[nsid] = string(record)
}

// folder is a project that pulls.
type folder struct {
	*pull.Puller
	dir  string
	told []string
}

func newFolder(t *testing.T, w *world, allow ...string) *folder {
	t.Helper()
	if allow == nil {
		allow = []string{w.Listener.Addr().String()}
	}
	f := &folder{dir: t.TempDir()}
	f.Puller = &pull.Puller{
		Source: &pull.Network{DNS: w, Web: pull.NewWeb(allow), PLC: w.URL},
		Dir:    filepath.Join(f.dir, "lexicons"), Lock: filepath.Join(f.dir, "lexicons.json"),
		Tell: func(nsid string, _ pull.Resolution) { f.told = append(f.told, nsid) },
	}
	return f
}

func (f *folder) read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (f *folder) write(t *testing.T, name, text string) {
	t.Helper()
	name = filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fails fails the test unless the pull does, with an error that says so; nothing is written then.
func (f *folder) fails(t *testing.T, says string, nsids ...string) {
	t.Helper()
	err := f.Pull(t.Context(), nsids)
	if err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("got %v, want an error with %q", err, says)
	}
	if len(f.told) > 0 {
		t.Errorf("wrote %v all the same", f.told)
	}
}

// TestPull: what was asked for is written with what it refers to, the lock file says which it was,
// and the next run has nothing to do.
func TestPull(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("com.example.post", "com.example.defs#author", "#main", "com.example.own")
	w.publish("com.example.defs", "com.example.post")
	w.publish("com.example.tokens")
	f := newFolder(t, w)
	f.write(t, "lexicons/com/example/own.json", `{"lexicon": 1, "id": "com.example.own", "defs": {}}`)
	if err := f.Pull(t.Context(), []string{"com.example.post"}); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(f.told, " "); got != "com.example.defs com.example.post com.example.tokens" {
		t.Errorf("wrote %s", got)
	}
	for _, nsid := range f.told {
		var is, was bytes.Buffer
		if json.Compact(&is, []byte(f.read(t, "lexicons/"+pull.Path(nsid)))) != nil || json.Compact(&was, []byte(w.records[nsid])) != nil || is.String() != was.String() {
			t.Errorf("%s: %s", nsid, is.String())
		}
	}
	var want strings.Builder
	want.WriteString("{\n  \"version\": 1,\n  \"lexicons\": [\n    \"com.example.post\"\n  ],\n  \"resolutions\": {\n")
	for i, nsid := range f.told {
		fmt.Fprintf(&want, "    %q: {\n      \"uri\": \"at://%s/com.atproto.lexicon.schema/%s\",\n      \"cid\": %q\n    }%s\n",
			nsid, alice, nsid, cidOf(w.records[nsid]), strings.Repeat(",", min(1, len(f.told)-1-i)))
	}
	want.WriteString("  }\n}\n")
	if got := f.read(t, "lexicons.json"); got != want.String() {
		t.Errorf("the lock file:\n%s\nwant\n%s", got, want.String())
	}

	before := w.asked
	if err := f.Pull(t.Context(), nil); err != nil || w.asked != before {
		t.Errorf("the second time: %v, and %d requests", err, w.asked-before)
	}
}

// TestPullFollowsTheLock: a missing file comes back as it was locked, not as it is published now;
// --update takes that.
func TestPullFollowsTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("com.example.defs")
	w.publish("com.example.tokens")
	f := newFolder(t, w)
	if err := f.Pull(t.Context(), []string{"com.example.defs"}); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(f.Dir, "com/example/defs.json")
	was, lock := f.read(t, "lexicons/com/example/defs.json"), f.read(t, "lexicons.json")
	again := func() {
		t.Helper()
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		f.told = nil
	}
	again()
	w.texts = nil // who publishes it is locked, too
	if err := f.Pull(t.Context(), nil); err != nil || f.read(t, "lexicons/com/example/defs.json") != was {
		t.Errorf("not as it was: %v", err)
	}
	again()
	w.publish("com.example.defs", "com.example.tokens#on")
	f.fails(t, "is locked; --update")

	f.write(t, "lexicons/com/example/defs.json", strings.Replace(was, "text", "test", 1))
	f.fails(t, "is not what was locked")
	if f.read(t, "lexicons.json") != lock {
		t.Error("the lock file has changed")
	}
	w.texts = map[string][]string{"_lexicon.example.com.": {"did=" + alice}}
	f.Update = true
	if err := f.Pull(t.Context(), nil); err != nil || f.read(t, "lexicons.json") == lock {
		t.Errorf("not updated: %v", err)
	}
	f.Update = false
	if err := f.Pull(t.Context(), nil); err != nil {
		t.Error(err)
	}
	f.told = nil
	f.write(t, "lexicons.json", strings.Replace(lock, alice, "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb/x", 1))
	again()
	f.fails(t, "its uri in the lock file")
	f.write(t, "lexicons.json", `{"version": 2}`)
	f.fails(t, "version 2")
}

// TestPullTouchesNothingElse: a project's own files, and what lies outside of the folder.
func TestPullTouchesNothingElse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("com.example.defs")
	w.publish("com.example.tokens")
	f := newFolder(t, w)
	const own = `{"lexicon": 1, "id": "com.example.defs", "defs": {}}`
	f.write(t, "lexicons/com/example/defs.json", own)
	f.fails(t, "is there already", "com.example.defs")
	if f.read(t, "lexicons/com/example/defs.json") != own {
		t.Error("it was overwritten")
	}

	f = newFolder(t, w)
	outside := t.TempDir()
	if err := os.MkdirAll(f.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(f.Dir, "com")); err != nil {
		t.Fatal(err)
	}
	f.fails(t, "com.example.defs", "com.example.defs")
	if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
		t.Errorf("%v lies outside of the folder: %v", left, err)
	}
}
