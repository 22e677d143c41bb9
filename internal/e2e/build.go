package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// buildTime is how long the go command may take, on a busy machine without a cache.
const buildTime = 10 * time.Minute

// builds has a function for each set of flags that builds the server with them, once.
var builds sync.Map

// buildDir is where the binaries are, until RemoveBuilds.
var buildDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "mls-server-e2e") })

// Build builds the server with flags of the go command and returns the path of
// the binary. All tests of the process share one build for the same flags.
func Build(tb testing.TB, flags ...string) string {
	tb.Helper()
	key := strings.Join(flags, " ")
	once, _ := builds.LoadOrStore(key, sync.OnceValues(func() (string, error) { return build(flags) }))
	path, err := once.(func() (string, error))() //nolint:errcheck,forcetypeassert // nothing else is stored
	if err != nil {
		tb.Fatal(err)
	}
	return path
}

// Binary is the server of MLS_SERVER_BIN, or one that is built here.
func Binary(tb testing.TB) string {
	tb.Helper()
	if path := os.Getenv("MLS_SERVER_BIN"); path != "" {
		return path
	}
	return Build(tb)
}

func build(flags []string) (string, error) {
	dir, err := buildDir()
	if err != nil {
		return "", err
	}
	// No test's context: the binary serves them all.
	ctx, cancel := context.WithTimeout(context.Background(), buildTime)
	defer cancel()
	path := filepath.Join(dir, "mls-server"+strings.Join(flags, ""))
	args := append(append([]string{"build", "-o", path}, flags...), "mls-server/cmd/mls-server")
	if out, err := exec.CommandContext(ctx, "go", args...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
}

// RemoveBuilds removes what Build has built; a TestMain calls it at the end.
func RemoveBuilds() error {
	dir, err := buildDir()
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}
