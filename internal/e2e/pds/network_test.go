//go:build pds

package pds_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"mls-server/internal/e2e/seen"
)

// network is a PLC directory, a PDS and a Jetstream, in a process of their own.
type network struct {
	// name is the folder of e2e/pds that it is run from.
	name string
	// PLC, PDS and Jetstream are their addresses, Admin the Authorization header of the PDS'
	// operator.
	PLC, PDS, Jetstream, Admin string

	mu    sync.Mutex
	in    io.WriteCloser
	lines *bufio.Scanner
	cmd   *exec.Cmd
}

// networks are those of the packages that make e2e-pds installs, which all tests share.
var networks = map[string]func() (*network, error){
	"old": sync.OnceValues(func() (*network, error) { return startNetwork("old") }),
	"new": sync.OnceValues(func() (*network, error) { return startNetwork("new") }),
}

// stopped ends the networks that were started; TestMain calls them.
var (
	stopsMu sync.Mutex
	stops   []func()
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, stop := range stops {
		stop()
	}
	os.Exit(code)
}

// on runs a test beside each PDS.
func on(t *testing.T, test func(t *testing.T, n *network)) {
	t.Helper()
	for _, name := range []string{"old", "new"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, networkOf(t, name))
		})
	}
}

func networkOf(tb testing.TB, name string) *network {
	tb.Helper()
	n, err := networks[name]()
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func startNetwork(name string) (*network, error) {
	dir, err := filepath.Abs(filepath.Join("..", "..", "..", "e2e", "pds", name))
	if err != nil {
		return nil, err
	}
	in, lines, cmd, err := startNode(dir, "main.mjs")
	if err != nil {
		return nil, err
	}
	n := &network{name: name, in: in, lines: lines, cmd: cmd}
	if err := n.read(n); err != nil {
		return nil, err
	}
	return n, nil
}

// startNode runs a program of a folder, which ends with its input.
func startNode(dir, program string) (io.WriteCloser, *bufio.Scanner, *exec.Cmd, error) {
	cmd := exec.Command(nodeOf(dir), program) //nolint:noctx // it outlives the test that asks for it first
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, nil, err
	}
	stopsMu.Lock()
	defer stopsMu.Unlock()
	stops = append(stops, func() {
		_ = in.Close()
		_ = cmd.Wait() // it has nothing to say any more
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	return in, lines, cmd, nil
}

// nodeOf is the Node.js that a folder brings along, or the machine's.
func nodeOf(dir string) string {
	if own, err := filepath.Glob(filepath.Join(dir, "node_modules", "node-*", "bin", "node")); err == nil && len(own) == 1 {
		return own[0]
	}
	return "node"
}

// read reads the next line that is one of ours: a PDS may write others.
func (n *network) read(into any) error {
	for n.lines.Scan() {
		if line := n.lines.Bytes(); len(line) > 0 && line[0] == '{' && json.Unmarshal(line, into) == nil {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("e2e/pds/%s ended; make e2e-pds installs what it needs", n.name), n.lines.Err())
}

// publish makes a did:plc for a service at an address.
func (n *network) publish(tb testing.TB, endpoint string) string {
	tb.Helper()
	return n.ask(tb, map[string]string{"service": endpoint, "id": "atproto_mls"})
}

// calls is the capability of a client that a test saw call through the PDS.
func (n *network) calls(tb testing.TB) string {
	tb.Helper()
	return seen.Through(strings.TrimPrefix(seen.Version(tb, "e2e/pds/"+n.name, "@atproto/pds"), "@atproto/pds "))
}

// lexiconsOf has the PDS take lexicons from the repository of an account.
func (n *network) lexiconsOf(tb testing.TB, a *account) {
	tb.Helper()
	n.ask(tb, map[string]string{"lexicons": string(a.DID)})
}

// ask puts a question of e2e/pds/network.mjs, and returns the DID that answers it.
func (n *network) ask(tb testing.TB, q map[string]string) string {
	tb.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	question, err := json.Marshal(q)
	if err != nil {
		tb.Fatal(err)
	}
	if _, err := n.in.Write(append(question, '\n')); err != nil {
		tb.Fatal(err)
	}
	var answer struct{ DID string }
	if err := n.read(&answer); err != nil {
		tb.Fatal(err)
	}
	return answer.DID
}
