package pull_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"mls-server/tools/lexgen/pull"
)

// TestRun is about the command line: what its codes mean, and that its flags are heard.
func TestRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("com.example.defs")
	w.publish("com.example.tokens")
	host := strings.TrimPrefix(w.URL, "http://")
	dir := t.TempDir()
	lock := filepath.Join(dir, "lexicons.json")
	if err := (&pull.Lock{Version: 1, Lexicons: []string{"com.example.defs"}, Resolutions: map[string]pull.Resolution{
		"com.example.defs":   {URI: "at://" + alice + "/com.atproto.lexicon.schema/com.example.defs", CID: cidOf(w.records["com.example.defs"])},
		"com.example.tokens": {URI: "at://" + alice + "/com.atproto.lexicon.schema/com.example.tokens", CID: cidOf(w.records["com.example.tokens"])},
	}}).Write(lock); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		code int
		out  string
	}{
		{"--help", 0, "usage: lexgen pull"},
		{"--unknown", 2, "usage"},
		{"--lock " + filepath.Join(dir, "none.json"), 1, "nothing to pull"},
		{"--lock " + lock + " --plc " + w.URL, 1, "not one of https"},
		{"--lock " + lock + " --plc " + w.URL + " --allow " + host, 0, "com.example.defs baf"},
		{"--lock " + lock + " --plc " + w.URL, 0, ""},
		{"com.example.x --lock " + lock + " --dns 127.0.0.1:1", 1, "com.example.x: DNS names no account"},
	} {
		var out bytes.Buffer
		code := pull.Run(append([]string{"--in", filepath.Join(dir, "in")}, strings.Fields(c.args)...), &out, &out)
		if code != c.code || !strings.Contains(out.String(), c.out) || c.out == "" && out.Len() > 0 {
			t.Errorf("%s: code %d, want %d, and %q in:\n%s", c.args, code, c.code, c.out, out.String())
		}
	}
}
