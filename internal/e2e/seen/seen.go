// Package seen keeps what tests have seen clients do: docs/clients.json, of which docs/clients.md
// shows a table. Nobody writes it by hand.
package seen

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Capabilities that are columns of the table. Calls through a PDS have its version: see Through.
const (
	Calls    = "calls the service itself"
	Streams  = "follows by events"
	Sockets  = "follows by WebSocket"
	Sealed   = "sends sealed messages"
	Opaque   = "opaque groups"
	Verified = "verified groups"
)

// Ours is this repository's own TypeScript client.
const Ours = "clients/ts"

// Through is the capability to call through a PDS of a version, for example "0.5.35".
func Through(version string) string { return "calls through PDS " + version }

// Works holds what a test saw clients do against docs/clients.json: capabilities by client, each of
// them with its version. It is called once in a test, behind everything that may fail. With
// CLIENTS_UPDATE=1 it writes what was seen instead.
func Works(tb testing.TB, pkg string, clients map[string][]string) {
	tb.Helper()
	if tb.Failed() {
		return
	}
	path := filepath.Join(root(tb), "docs", "clients.json")
	if err := keep(path, pkg+"."+tb.Name(), clients, os.Getenv("CLIENTS_UPDATE") != ""); err != nil {
		tb.Error(err)
	}
}

// keep holds what a test saw against a file, or writes it there. Several processes may write.
func keep(path, by string, clients map[string][]string, update bool) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	known := map[string]map[string][]string{}
	if err := json.NewDecoder(f).Decode(&known); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, capabilities := range clients {
		slices.Sort(capabilities)
	}
	switch {
	case maps.EqualFunc(known[by], clients, slices.Equal):
		return nil
	case !update:
		return fmt.Errorf("%s saw %v, and docs/clients.json has %v; run the test with CLIENTS_UPDATE=1, then go test ./internal/repo -update", by, clients, known[by])
	}
	known[by] = clients
	data, err := json.MarshalIndent(known, "", "  ")
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt(append(data, '\n'), 0)
	return err
}

// Version returns a package with the version that a folder below the root has installed of it, for
// example "@atproto/api 0.19.19".
func Version(tb testing.TB, folder, name string) string {
	tb.Helper()
	data, err := os.ReadFile(filepath.Join(root(tb), filepath.FromSlash(folder), "node_modules", filepath.FromSlash(name), "package.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var manifest struct {
		Version string `json:"version"`
	}
	if err := json.Unmarshal(data, &manifest); err != nil || manifest.Version == "" {
		tb.Fatalf("%s: %v", name, err)
	}
	return name + " " + manifest.Version
}

// root is the folder of the module.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for !exists(filepath.Join(dir, "lexicons", "policy.json")) {
		parent := filepath.Dir(dir)
		if parent == dir || strings.TrimSpace(dir) == "" {
			tb.Fatal("there is no repository around the working directory")
		}
		dir = parent
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
