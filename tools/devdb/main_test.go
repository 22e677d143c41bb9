package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary stand in for devdb itself.
func TestMain(m *testing.M) {
	if os.Getenv("DEVDB_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

func devdb(t *testing.T, arguments ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], arguments...)
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, databaseEnv+"=") {
			cmd.Env = append(cmd.Env, entry)
		}
	}
	cmd.Env = append(cmd.Env, "DEVDB_TEST_MAIN=1")
	// Off the terminal, so that Ctrl-C is never delivered twice.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

func TestExitCodeAndKeptData(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "pg")
	cmd := devdb(t, "run", "--data", data, "--", "sh", "-c", `echo "$DATABASE_URL"; exit 7`)
	out, err := cmd.Output()
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Fatalf("exit code %d, want 7: %v", code, err)
	}
	if !strings.HasPrefix(string(out), "postgres:///mls?") {
		t.Errorf("DATABASE_URL is %q", out)
	}
	if _, err := os.Stat(filepath.Join(data, "data", "PG_VERSION")); err != nil {
		t.Errorf("the data was not kept: %v", err)
	}
}

func TestDatabaseURLWins(t *testing.T) {
	t.Parallel()
	cmd := devdb(t, "exec", "--temp", "--", "sh", "-c", `echo "$DATABASE_URL"`)
	cmd.Env = append(cmd.Env, databaseEnv+"=postgres://elsewhere/mine")
	out, err := cmd.Output()
	if err != nil || strings.TrimSpace(string(out)) != "postgres://elsewhere/mine" {
		t.Fatalf("%q, %v", out, err)
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	t.Parallel()
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		cmd := devdb(t, "exec", "--temp", "--", "sh", "-c", `trap 'exit 9' TERM INT; echo ready; while :; do sleep 0.05; done`)
		reader, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(reader).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(s); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { _ = cmd.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(30 * time.Second):
			t.Fatalf("%s did not end it", s)
		}
		if code := cmd.ProcessState.ExitCode(); code != 9 {
			t.Errorf("%s: exit code %d, want the command's 9", s, code)
		}
	}
}

func TestFreshLeavesForeignFilesAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("years of work"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := devdb(t, "run", "--data", dir, "--fresh", "--", "true")
	if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitOwnFailure {
		t.Errorf("exit code %d, want %d", cmd.ProcessState.ExitCode(), exitOwnFailure)
	}
	if _, err := os.Stat(filepath.Join(dir, "thesis.txt")); err != nil {
		t.Error(err)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, arguments := range [][]string{nil, {"walk"}, {"run", "--", "true"}, {"exec", "--", "true"}, {"exec", "--temp"}, {"run", "--data", "x", "--set", "novalue", "--", "true"}} {
		cmd := devdb(t, arguments...)
		if err := cmd.Run(); err == nil || cmd.ProcessState.ExitCode() != exitUsage {
			t.Errorf("%q: exit code %d, want %d", arguments, cmd.ProcessState.ExitCode(), exitUsage)
		}
	}
}
