package starter

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/lint"
)

// names has an NSID for each kind that suits the rules of style.
var names = map[string]string{
	"query": "com.example.listThings", "procedure": "com.example.putThing", "record": "com.example.thing",
	"subscription": "com.example.subscribeThings", "permission-set": "com.example.authBasic", "defs": "com.example.defs",
}

func TestKinds(t *testing.T) {
	t.Parallel()
	for _, kind := range Kinds() {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			nsid := names[kind]
			var out, errOut bytes.Buffer
			if code := Run([]string{nsid, "--kind", kind, "--in", dir}, &out, &errOut); code != 0 {
				t.Fatalf("exit %d: %s", code, errOut.String())
			}
			set, diags, err := lexicon.Load(os.DirFS(dir), lexicon.Options{})
			if err != nil || len(diags) > 0 || set.File(nsid) == nil {
				t.Fatalf("not well-formed: %v %v", err, diags)
			}
			if d := lint.Check(set, lint.Options{}); len(d) > 0 {
				t.Errorf("lint: %v", d)
			}
			if _, d := ir.Build(set, ir.Options{Policy: &ir.Policy{File: "policy.json"}}); len(d) > 0 {
				t.Errorf("model: %v", d)
			}

			file := filepath.Join(dir, filepath.FromSlash(Path(nsid)))
			if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
				t.Fatal(err)
			}
			if code := Run([]string{"--in", dir, "--kind", kind, nsid}, &out, &errOut); code != 1 || !strings.Contains(errOut.String(), "exists already") {
				t.Errorf("exit %d: %s", code, errOut.String())
			}
			if data, err := os.ReadFile(file); err != nil || string(data) != "mine" {
				t.Errorf("the file was touched: %q %v", data, err)
			}
		})
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	for nsid, want := range map[string]string{
		"com.example.getThing": "query", "com.example.sendThing": "procedure", "com.example.defs": "defs", "com.example.subscribeAll": "subscription",
	} {
		if got := KindOf(nsid); got != want {
			t.Errorf("%s: %s, want %s", nsid, got, want)
		}
	}
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{}, {"a.b"}, {"com.example.x", "com.example.y"}, {"com.example.x", "--kind", "table"}, {"--nope"}, {"com.example.x\ny"}, {"../../etc/passwd"},
	} {
		var out, errOut bytes.Buffer
		if code := Run(append(args, "--in", t.TempDir()), &out, &errOut); code != 2 || errOut.Len() == 0 || out.Len() != 0 {
			t.Errorf("%q: exit %d, %q", args, code, errOut.String())
		}
	}
	if code := Run([]string{"--help"}, &bytes.Buffer{}, &bytes.Buffer{}); code != 0 {
		t.Errorf("help: exit %d", code)
	}
}
