package pgcluster_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mls-server/internal/pgcluster"
)

// psql runs one statement with the client program of the same installation.
func psql(t *testing.T, url, statement string) string {
	t.Helper()
	bin, err := pgcluster.FindBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "psql"), "-X", "-A", "-t", "-c", statement, url).CombinedOutput()
	if err != nil {
		t.Fatalf("psql: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

func start(t *testing.T, cfg pgcluster.Config) *pgcluster.Cluster {
	t.Helper()
	c, err := pgcluster.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func TestTemporaryClusterLeavesNothing(t *testing.T) {
	t.Parallel()
	c, err := pgcluster.Start(t.Context(), pgcluster.Config{Database: "mls"})
	if err != nil {
		t.Fatal(err)
	}
	socket := psql(t, c.URL("mls"), "SHOW unix_socket_directories")
	data := psql(t, c.URL("mls"), "SHOW data_directory")
	if got := psql(t, c.URL("mls"), "SHOW listen_addresses"); got != "" {
		t.Errorf("listens on %q, want the socket only", got)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Errorf("second Stop: %v", err)
	}
	for _, path := range []string{socket, filepath.Dir(data)} {
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
}

// The directory that t.TempDir makes for root is closed to every other
// account when it hangs below a closed one; the server must run there too.
func TestDataSurvivesARestartInAClosedDirectory(t *testing.T) {
	t.Parallel()
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(closed, "pg")
	for round := range 2 {
		c, err := pgcluster.Start(t.Context(), pgcluster.Config{Dir: dir, Database: "mls"})
		if err != nil {
			t.Fatal(err)
		}
		if got := psql(t, c.URL("mls"), "SHOW fsync"); got != "on" {
			t.Errorf("fsync is %q for data that is kept", got)
		}
		if round == 0 {
			psql(t, c.URL("mls"), "CREATE TABLE kept AS SELECT 42 AS answer")
		} else if got := psql(t, c.URL("mls"), "SELECT answer FROM kept"); got != "42" {
			t.Errorf("after a restart: %q, want 42", got)
		}
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTwoClustersOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "pg")
	start(t, pgcluster.Config{Dir: dir})
	second, err := pgcluster.Start(t.Context(), pgcluster.Config{Dir: dir})
	if err == nil {
		t.Fatal(errors.Join(errors.New("two servers on one directory"), second.Stop()))
	}
	if !strings.Contains(err.Error(), "postmaster.pid") {
		t.Errorf("the error does not say what is wrong: %v", err)
	}
}

func TestLoopbackNeedsThePassword(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatalf("listens on %s", listener.Addr())
	}
	port := address.Port
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	c := start(t, pgcluster.Config{Database: "mls", Port: port})
	if got := psql(t, c.LoopbackURL("mls"), "SELECT 1"); got != "1" {
		t.Errorf("over TCP: %q", got)
	}
	if got := psql(t, c.URL("mls"), "SELECT 2"); got != "2" {
		t.Errorf("through the socket: %q", got)
	}
	bin, err := pgcluster.FindBinaries(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(c.LoopbackURL("mls"), ":"+strings.SplitN(strings.SplitN(c.LoopbackURL("mls"), "@", 2)[0], ":", 3)[2]+"@", "@", 1)
	if out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "psql"), "-w", "-X", "-c", "SELECT 1", without).CombinedOutput(); err == nil {
		t.Errorf("a connection without the password was taken: %s", out)
	}
}

func TestDatabaseNameIsChecked(t *testing.T) {
	t.Parallel()
	if c, err := pgcluster.Start(t.Context(), pgcluster.Config{Database: "x; DROP DATABASE y"}); err == nil {
		t.Fatal(errors.Join(errors.New("accepted"), c.Stop()))
	}
}

func TestMissingBinariesNameTheInstallCommand(t *testing.T) {
	t.Parallel()
	if hint := pgcluster.InstallHint(); !strings.Contains(hint, "install") && !strings.Contains(hint, "add") && !strings.Contains(hint, "-S") {
		t.Errorf("hint %q names no command", hint)
	}
	if c, err := pgcluster.Start(t.Context(), pgcluster.Config{BinDir: t.TempDir()}); err == nil {
		t.Fatal(errors.Join(errors.New("started out of an empty directory"), c.Stop()))
	}
}

// childMode makes this test binary a process that starts a cluster, says so
// and waits to be killed.
const childMode = "PGCLUSTER_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childMode) == "" {
		os.Exit(m.Run())
	}
	c, err := pgcluster.Start(context.Background(), pgcluster.Config{Database: "mls"})
	if err != nil {
		panic(err)
	}
	if _, err := os.Stdout.WriteString(c.URL("mls") + "\n"); err != nil {
		panic(err)
	}
	select {}
}

func TestKilledParentLeavesNothing(t *testing.T) {
	t.Parallel()
	parent := exec.CommandContext(t.Context(), os.Args[0])
	parent.Env = append(os.Environ(), childMode+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	url := strings.TrimSpace(line)
	socket := psql(t, url, "SHOW unix_socket_directories")
	data := psql(t, url, "SHOW data_directory")
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // it was killed: that is the point
	deadline := time.Now().Add(20 * time.Second)
	for _, path := range []string{socket, filepath.Dir(data)} {
		for {
			_, err := os.Stat(path)
			if errors.Is(err, os.ErrNotExist) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s is still there", path)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
}
