package main

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"
)

const published, version = "host.example/owner/name", "v0.1.0"

// program is somebody else's: it calls a service with the Go client, and has a name of lexrt.
const program = `package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"host.example/owner/name/client"
	"host.example/owner/name/lexrt"
)

func main() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, ` + "`" + `{"error":"ConvoNotFound","message":"asked at ` + "`" + `+r.URL.Path+` + "`" + `"}` + "`" + `)
	}))
	defer service.Close()
	c, err := client.New(service.URL, client.Options{})
	if err != nil {
		panic(err)
	}
	_, err = c.DescribeServer(context.Background())
	var named *lexrt.Error
	fmt.Println(errors.As(err, &named), err)
}
`

// TestPublishedRepository: in a clone, one call gives every module another path. All modules build
// under it, its generated code is up to date, and its pages are as they should be. Then somebody
// else's program imports the client and lexrt from the module as a proxy serves it.
func TestPublishedRepository(t *testing.T) {
	t.Parallel()
	repository := clone(t)
	if n, err := rename(repository, published); err != nil || n == 0 {
		t.Fatalf("%d files, error %v", n, err)
	}
	for _, mod := range modules(t, repository) {
		dir := filepath.Dir(filepath.Join(repository, mod))
		if path := run(t, dir, nil, "go", "list", "-m"); !strings.HasPrefix(path, published) {
			t.Errorf("%s is of the module %s", mod, path)
		}
		run(t, dir, nil, "go", "build", "./...")
	}
	generator := filepath.Join(t.TempDir(), "lexgen")
	run(t, filepath.Join(repository, "tools/lexgen"), nil, "go", "build", "-o", generator, ".")
	run(t, repository, nil, generator, "check")
	run(t, repository, nil, generator, "check", "--config", "tools/lexgen/examples/notes/lexgen.json")
	run(t, repository, nil, "go", "test", "-count=1", "./internal/repo")
	run(t, repository, nil, "go", "test", "-count=1", "-run", "TestPackageTouchesNothing", "./internal/mls")

	outside := t.TempDir()
	write(t, filepath.Join(outside, "go.mod"), "module other.example/program\n\ngo 1.26.0\n\nrequire "+published+" "+version+"\n")
	write(t, filepath.Join(outside, "main.go"), program)
	proxy := t.TempDir()
	release(t, repository)
	serve(t, proxy, repository, published, version)
	env := stranger(t, proxy)
	const want = "true ConvoNotFound: asked at /xrpc/blue.catbird.mls.describeServer"
	if got := run(t, outside, append(env, "GOFLAGS=-mod=mod -modcacherw"), "go", "run", "."); !strings.HasSuffix(got, want) {
		t.Errorf("the program outside says %q, want %q at its end", got, want)
	}

	// Whoever publishes a fork of it does the same.
	if n, err := rename(repository, "fork.example/other"); err != nil || n == 0 {
		t.Fatalf("%d files, error %v", n, err)
	}
	if out, err := exec.CommandContext(t.Context(), "grep", "-rIl", "--exclude=*_test.go", published, repository).Output(); len(out) > 0 {
		t.Errorf("the path before stands in %s (%v)", out, err)
	}
}

// clone copies what git knows of this repository, changes that are not committed included.
func clone(t *testing.T) string {
	t.Helper()
	const root = "../.."
	dir := t.TempDir()
	run(t, dir, nil, "git", "init", "-q")
	names, err := tracked(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func modules(t *testing.T, dir string) []string {
	t.Helper()
	names, err := tracked(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, name := range names {
		if filepath.Base(name) == "go.mod" && !strings.Contains(name, "testdata/") {
			found = append(found, name)
		}
	}
	if len(found) < 4 {
		t.Fatalf("modules: %v", found)
	}
	return found
}

// stranger is the environment of somebody whose go command knows no module but those of the proxy,
// and of the cache of this machine.
func stranger(t *testing.T, proxy string) []string {
	t.Helper()
	return []string{
		"GOPROXY=file://" + proxy + ",file://" + filepath.Join(run(t, ".", nil, "go", "env", "GOMODCACHE"), "cache/download"),
		"GOMODCACHE=" + t.TempDir(), "GOFLAGS=-modcacherw", "GONOSUMDB=*", "GONOSUMCHECK=1", "GOSUMDB=off", "GOTOOLCHAIN=local",
	}
}

// identity is who commits in the clone.
var identity = []string{"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@host.example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@host.example"}

// release makes the clone's files a release.
func release(t *testing.T, repository string) {
	t.Helper()
	run(t, repository, nil, "git", "add", "-A")
	run(t, repository, identity, "git", "commit", "-q", "-m", "release")
	run(t, repository, nil, "git", "tag", version)
}

// serve adds a module to a proxy, as its tag in the repository has it.
func serve(t *testing.T, proxy, repository, path, tag string) {
	t.Helper()
	at := filepath.Join(proxy, path, "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	folder := strings.TrimPrefix(strings.TrimPrefix(path, published), "/")
	var archive bytes.Buffer
	if err := modzip.CreateFromVCS(&archive, module.Version{Path: path, Version: version}, repository, tag, folder); err != nil {
		t.Fatalf("the repository makes no module: %v", err)
	}
	if _, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len())); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(at, version+".zip"), archive.String())
	write(t, filepath.Join(at, version+".mod"), run(t, repository, nil, "git", "show", tag+":"+filepath.Join(folder, "go.mod"))+"\n")
	write(t, filepath.Join(at, version+".info"), `{"Version":"`+version+`"}`)
	write(t, filepath.Join(at, "list"), version+"\n")
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run returns what the command says, without the last line's end.
func run(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s in %s: %v\n%s", name, strings.Join(args, " "), dir, err, out)
	}
	return strings.TrimSpace(string(out))
}
