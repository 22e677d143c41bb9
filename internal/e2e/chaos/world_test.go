package chaos_test

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/authtest"
	"mls-server/internal/e2e"
	"mls-server/internal/pgcluster"
	"mls-server/internal/redistest"
)

const (
	// diskSize is that of the file system that the database is on, where one can be made.
	diskSize = 768 << 20
	// patience is how long something that has to happen may take.
	patience = time.Minute
)

// world is two servers and what they stand on.
type world struct {
	t         *testing.T
	directory *authtest.Directory
	redis     *redistest.Server
	servers   [2]*e2e.Process

	dir string
	// disk is the mounted file system below the database, "" where none could be made.
	disk string
	// database runs on the first port, after the promotion of a standby on the second.
	database *pgcluster.Cluster
	config   pgcluster.Config
	ports    [2]int
	password string
}

// settings make the database keep what it acknowledged when its processes are killed. The
// machine itself stays up, so nothing needs to reach the disk.
var settings = map[string]string{
	"fsync": "off", "synchronous_commit": "on", "full_page_writes": "on", "wal_level": "replica", "hot_standby": "on",
	"min_wal_size": "32MB", "max_wal_size": "96MB", "autovacuum_naptime": "10min",
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), directory: authtest.NewDirectory(t, nil), redis: redistest.Start(t)}
	// PostgreSQL runs under another account when the tests run as root.
	if err := os.Chmod(w.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.mount()
	w.ports = [2]int{freePort(t), freePort(t)}
	base := w.dir
	if w.disk != "" {
		base = w.disk
	}
	w.config = pgcluster.Config{Dir: filepath.Join(base, "primary"), Port: w.ports[0], Database: "mls", Settings: settings}
	w.startDatabase()
	t.Cleanup(func() {
		if err := w.database.Stop(); err != nil {
			t.Error(err)
		}
	})
	binary := e2e.Binary(t)
	cmd := exec.CommandContext(t.Context(), binary, "migrate")
	cmd.Env = []string{"MLS_ENV=development", "DATABASE_URL=" + w.url("mls")}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v: %s", err, out)
	}
	for i := range w.servers {
		w.servers[i] = e2e.StartProcess(t, binary, w.url("mls"), w.directory, e2e.Env{"REDIS_URL": w.redis.URL()})
	}
	return w
}

// mount makes a small file system for the experiment with the full disk. Only root can.
func (w *world) mount() {
	dir := filepath.Join(w.dir, "disk")
	if err := os.Mkdir(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	if mountDisk(dir) != nil {
		return
	}
	w.disk = dir
	w.t.Cleanup(func() {
		if err := unmountDisk(dir); err != nil {
			w.t.Error(err)
		}
	})
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// url names both ports, as for a database with a standby.
func (w *world) url(database string) string {
	hosts := "127.0.0.1:" + strconv.Itoa(w.ports[0]) + ",127.0.0.1:" + strconv.Itoa(w.ports[1])
	return "postgres://postgres:" + url.QueryEscape(w.password) + "@" + hosts + "/" + database +
		"?sslmode=disable&target_session_attrs=read-write&connect_timeout=2"
}

// startDatabase starts the database on w.config. After a kill its shared memory may be in use
// for another moment.
func (w *world) startDatabase() {
	w.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var c *pgcluster.Cluster
		if c, err = pgcluster.Start(w.t.Context(), w.config); err == nil {
			w.database = c
			u, err := url.Parse(c.LoopbackURL("mls"))
			if err != nil {
				w.t.Fatal(err)
			}
			w.password, _ = u.User.Password()
			return
		}
	}
	w.t.Fatal(err)
}

// killDatabase ends the database as a power cut would. What is left of its processes ends by
// itself.
func (w *world) killDatabase() {
	w.t.Helper()
	w.signal(w.database.Pid(), syscall.SIGKILL)
	<-w.database.Exited()
	w.forget()
}

// forget removes what is left of a database that has ended.
func (w *world) forget() {
	w.t.Helper()
	if err := w.database.Stop(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) signal(pid int, s syscall.Signal) {
	w.t.Helper()
	if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		w.t.Fatal(err)
	}
}

// connect opens a connection of the test's own to the database that can be written.
func (w *world) connect(database string) *pgx.Conn {
	w.t.Helper()
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		var conn *pgx.Conn
		if conn, err = pgx.Connect(w.t.Context(), w.url(database)); err == nil {
			return conn
		}
	}
	w.t.Fatal(err)
	return nil
}

func (w *world) close(conn *pgx.Conn) { _ = conn.Close(context.WithoutCancel(w.t.Context())) }

// exec runs statements on a connection of their own.
func (w *world) exec(statements ...string) {
	w.t.Helper()
	conn := w.connect("mls")
	defer w.close(conn)
	for _, sql := range statements {
		if _, err := conn.Exec(w.t.Context(), sql); err != nil {
			w.t.Fatalf("%s: %v", sql, err)
		}
	}
}

// backup copies the running database into a folder of its own and returns how to start it.
func (w *world) backup(name string, port int, options ...string) pgcluster.Config {
	w.t.Helper()
	bin, err := pgcluster.FindBinaries(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	dir := filepath.Join(w.dir, name)
	if err := os.Mkdir(dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	args := append([]string{
		"-h", "127.0.0.1", "-p", strconv.Itoa(w.config.Port), "-U", "postgres", "-D", filepath.Join(dir, "data"), "-X", "stream", "-c", "fast",
	}, options...)
	cmd := exec.CommandContext(w.t.Context(), filepath.Join(bin, "pg_basebackup"), args...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+w.password)
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("pg_basebackup: %v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte(w.password+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	own := maps.Clone(settings)
	return pgcluster.Config{Dir: dir, Port: port, Database: "mls", Settings: own}
}

// await waits until something holds.
func (w *world) await(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("it never came to this: %s\n%s", what, w.tails())
		}
	}
}

// tails are the last lines of the servers' logs.
func (w *world) tails() string {
	var out []string
	for _, s := range w.servers {
		lines := strings.Split(s.Logs.String(), "\n")
		out = append(out, strings.Join(lines[max(0, len(lines)-12):], "\n"))
	}
	return strings.Join(out, "\n--\n")
}
