package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestInstalledByPath: a release of the repository under a path of its own is tagged for lexgen,
// too. A stranger who has the go command only installs lexgen by that path, and what it makes in an
// empty module builds with lexrt as the proxy has it.
func TestInstalledByPath(t *testing.T) {
	t.Parallel()
	repository := clone(t)
	if _, err := rename(repository, published); err != nil {
		t.Fatal(err)
	}
	release(t, repository)
	run(t, repository, identity, ".ci/release-lexgen", version)
	if changed := run(t, repository, nil, "git", "status", "--porcelain"); changed != "" {
		t.Errorf("release-lexgen changed files: %s", changed)
	}
	proxy, bin, dir := t.TempDir(), t.TempDir(), t.TempDir()
	serve(t, proxy, repository, published, version)
	serve(t, proxy, repository, published+"/tools/lexgen", "tools/lexgen/"+version)

	env := append(stranger(t, proxy), "GOBIN="+bin, "XDG_CACHE_HOME="+t.TempDir(), "GOCACHE="+run(t, ".", nil, "go", "env", "GOCACHE"))
	generator := filepath.Join(bin, "lexgen")
	run(t, dir, env, "go", "install", published+"/tools/lexgen@"+version)
	if got := run(t, dir, env, generator, "version"); !strings.HasPrefix(got, "lexgen "+version+" go") {
		t.Errorf("lexgen version says %q", got)
	}
	run(t, dir, env, "go", "mod", "init", "other.example/notes")
	for _, nsid := range []string{"com.example.getNote", "com.example.putNote", "com.example.subscribeNotes"} {
		run(t, dir, env, generator, "new", nsid)
	}
	write(t, filepath.Join(dir, "lexgen.json"), `{"in": "lexicons", "prefix": "com.example", "packages": [
		{"out": "api", "package": "api", "module": "other.example/notes/api", "handlers": "handlers", "client": "client"}]}`)
	run(t, dir, env, generator, "gen")
	run(t, dir, env, generator, "check")
	run(t, dir, env, "go", "mod", "tidy")
	run(t, dir, env, "go", "vet", "./...")
}
