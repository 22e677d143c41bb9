package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	comatproto "github.com/bluesky-social/indigo/api/atproto"
	"github.com/bluesky-social/indigo/events"
	"mls-server/lexrt/lexcbor"
)

// TestSubscriptions makes server and client of subscriptions, one of the folder's own and two
// official ones, and runs testdata/subscribe/serve_test.go: they speak to each other, and indigo's
// client reads what the official ones send.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	module := tempModule(t, "subs")
	official := filepath.Join(indigo(t), "lexicons")
	own, err := os.ReadFile("testdata/subscribe/subscribeNotes.json")
	if err != nil {
		t.Fatal(err)
	}
	files := lexicons{"com/example/subscribeNotes.json": string(own)}
	for _, name := range []string{"com/atproto/sync/subscribeRepos.json", "com/atproto/label/subscribeLabels.json"} {
		data, err := os.ReadFile(filepath.Join(official, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(data)
	}
	cli := &cli{dir: module, args: append(files.write(t, module, "subs"), "--deps", official, "--client", filepath.Join(module, "client"))}
	cli.mustGen(t)
	program, err := os.ReadFile("testdata/subscribe/serve_test.go")
	if err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(module, "serve_test.go"), program)
	goTool(t, module, "vet", "./...")
	goTool(t, module, "test", "./...")
}

// TestFramesOfIndigo reads frames that indigo wrote.
func TestFramesOfIndigo(t *testing.T) {
	t.Parallel()
	handle := "alice.example.com"
	for want, e := range map[string]*events.XRPCStreamEvent{
		`{"did":"did:web:a","seq":7,"time":"2026-11-27T10:00:00Z","handle":"alice.example.com"}`: {RepoIdentity: &comatproto.SyncSubscribeRepos_Identity{Did: "did:web:a", Seq: 7, Time: "2026-11-27T10:00:00Z", Handle: &handle}},
		`{"error":"FutureCursor","message":"no"}`:                                                {Error: &events.ErrorFrame{Error: "FutureCursor", Message: "no"}},
	} {
		var b bytes.Buffer
		if err := e.Serialize(&b); err != nil {
			t.Fatal(err)
		}
		frame, err := lexcbor.ReadFrame("com.atproto.sync.subscribeRepos", b.Bytes())
		if err != nil || !json.Valid(frame.Body) || string(frame.Body) != want {
			t.Errorf("%v: %+v %s", err, frame, frame.Body)
		}
		if op, typ := lexcbor.OpMessage, "com.atproto.sync.subscribeRepos#identity"; e.Error == nil && (frame.Op != op || frame.Type != typ) || e.Error != nil && (frame.Op != lexcbor.OpError || frame.Type != "") {
			t.Errorf("%+v", frame)
		}
	}
}
