package pull_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "write testdata/pulled anew")

// TestPulledForOthers: testdata/pulled is what pull writes, byte for byte. The tests of
// examples/notes let @atproto/lex judge it.
func TestPulledForOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.publish("com.example.post", "com.example.defs#author")
	w.publish("com.example.defs")
	w.publish("com.example.tokens")
	f := newFolder(t, w)
	if err := f.Pull(t.Context(), []string{"com.example.post"}); err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/pulled"
	if *update {
		if err := os.RemoveAll(golden); err != nil {
			t.Fatal(err)
		}
		if err := os.CopyFS(golden, os.DirFS(f.dir)); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := fs.WalkDir(os.DirFS(f.dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		n++
		want, err := os.ReadFile(filepath.Join(golden, name))
		if err == nil && string(want) != f.read(t, name) {
			t.Errorf("%s is another one; look at it and run go test -update", name)
		}
		return err
	})
	if err != nil || n != 4 {
		t.Error(n, err)
	}
}
