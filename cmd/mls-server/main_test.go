package main

import (
	"context"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"mls-server/internal/pgtest"
)

// binary builds the command once for all tests of the package.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mls-server")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-X main.version=v9.9.9 -X main.revision=abcdef", "-o", path, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

// Asking for help only helps, and what a command does not take is refused:
// neither touches the database.
func TestArguments(t *testing.T) {
	t.Parallel()
	path, database := binary(t), pgtest.NewEmpty(t)
	for _, c := range []struct {
		args string
		code int
		part string
	}{
		{"migrate --help", 0, "usage: mls-server"},
		{"config -h", 0, "usage: mls-server"},
		{"healthcheck --help", 0, "usage: mls-server"},
		{"version --help", 0, "usage: mls-server"},
		{"serve --help", 0, "usage: mls-server"},
		{"--help", 0, "usage: mls-server"},
		{"help", 0, "usage: mls-server"},
		{"migrate --help", 0, "mls-server migrate status"},
		{"serve --help", 0, "For example:"},
		{"help", 0, "admin COMMAND"},
		{"migrate now", 2, "migrate takes nothing, or status"},
		{"migrate status now", 2, "migrate takes fewer arguments"},
		{"migrate status", 1, "missing 00001_"},
		{"completion", 2, "completion takes bash, zsh or fish"},
		{"completion powershell", 2, "completion takes bash, zsh or fish"},
		{"completion fish", 0, "complete -c mls-server"},
		{"completion zsh", 0, "bashcompinit"},
		{"doctor now", 2, "doctor takes no arguments"},
		{"doctor", 1, "run mls-server migrate"},
		{"demo", 2, "there is no such command"},
		{"serve extra", 2, "serve takes no arguments"},
		{"version x", 2, "takes no arguments"},
		{"migrate --force", 2, "not defined: -force"},
		{"serve --port=1", 2, "not defined: -port"},
		{"nosuch", 2, "no such command"},
		{"admin", 2, "which command?"},
		{"admin help", 0, "usage: mls-server admin"},
		{"admin suspend-user --help", 0, "usage: mls-server admin"},
		{"admin nosuch", 2, "no such command"},
		{"admin suspend-user", 2, "suspend-user takes one DID"},
		{"admin suspend-user alice.example", 2, "suspend-user takes a DID"},
		{"admin suspend-user did:plc:ewvi7nxzyoun6zhxrhs64oiz --reason x", 2, "takes one DID, after its flags"},
		{"admin list-suspended all", 2, "takes no arguments"},
		{"version", 0, "mls-server v9.9.9, revision abcdef, go"},
	} {
		cmd := exec.CommandContext(t.Context(), path, strings.Fields(c.args)...)
		cmd.Env = append(os.Environ(), "MLS_ENV=development", "DATABASE_URL="+database)
		out, _ := cmd.CombinedOutput() // the code says it
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.part) {
			t.Errorf("%q: code %d, want %d; %s", c.args, code, c.code, out)
		}
	}
	var tables int
	if err := pgtest.Open(t, database).QueryRow(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("%d tables, %v", tables, err)
	}
}

// TestCompletion: bash completes commands, and the words after them.
func TestCompletion(t *testing.T) {
	t.Parallel()
	path := binary(t)
	for typed, want := range map[string]string{
		"mi": "migrate", "co": "config completion", "migrate st": "status", "admin sus": "suspend-user", "version ": "", "admin close-convo x": "",
	} {
		words := strings.Split("mls-server "+typed, " ")
		script := `source <("$0" completion bash); COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _mls_server; echo "${COMPREPLY[*]}"`
		out, err := exec.CommandContext(t.Context(), "bash", append([]string{"-c", script, path}, words...)...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q: %s, want %q (%v)", typed, out, want, err)
		}
	}
}

// output collects what a process says, and tells when it has said something.
type output struct{ lines chan string }

func (o output) Write(p []byte) (int, error) {
	o.lines <- string(p)
	return len(p), nil
}

// until waits for a text.
func (o output) until(t *testing.T, part string) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	var all strings.Builder
	for !strings.Contains(all.String(), part) {
		select {
		case line := <-o.lines:
			all.WriteString(line)
		case <-deadline:
			t.Fatalf("no %q in %s", part, all.String())
		}
	}
}

// A server without a database says why in plain words and stays; each of its
// signals ends it in order, and a second one at once.
func TestSignals(t *testing.T) {
	t.Parallel()
	path := binary(t)
	// A server that is started with SIGHUP ignored, as by nohup, goes on ignoring it. These start
	// as usual, whatever started the tests.
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, syscall.SIGHUP)
	t.Cleanup(func() { signal.Stop(heard) })
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		for _, twice := range []bool{false, true} {
			t.Run(sig.String()+map[bool]string{true: " twice"}[twice], func(t *testing.T) {
				t.Parallel()
				out := output{make(chan string, 1000)}
				ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
				defer cancel()
				cmd := exec.CommandContext(ctx, path, "serve")
				cmd.Stderr = out
				cmd.Env = append(os.Environ(), "MLS_ENV=development", "DATABASE_URL=postgresql://mls:secret@127.0.0.1:1/chat", "SERVER_HOST=127.0.0.1",
					"SERVER_PORT=0", "ADMIN_PORT=0", "DRAIN_DELAY_SECONDS="+map[bool]string{true: "300", false: "0"}[twice])
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				out.until(t, "cannot reach PostgreSQL at 127.0.0.1:1, database chat: connection refused; trying again")
				_ = cmd.Process.Signal(sig)
				if twice {
					out.until(t, "draining for 5m0s")
					_ = cmd.Process.Signal(sig)
				}
				err := cmd.Wait()
				if ended := cmd.ProcessState.ExitCode(); ctx.Err() != nil || (ended == 0) == twice {
					t.Errorf("ended with %d, %v", ended, err)
				}
			})
		}
	}
}
