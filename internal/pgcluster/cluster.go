package pgcluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Config says what cluster to run. The zero value is a temporary one with
// PostgreSQL's own settings.
type Config struct {
	// Dir keeps the data between runs; it is made when missing. Empty: the
	// data lives in a temporary directory that goes with the cluster, and is
	// not synchronised to the disk.
	Dir string
	// BinDir holds initdb and postgres; empty: FindBinaries.
	BinDir string
	// Database is created beside PostgreSQL's own ones; empty: none. A name
	// of lower-case letters, digits and underscores.
	Database string
	// Port is a TCP port on the loopback interface to listen on beside the
	// unix socket, with a password; 0: the socket only.
	Port int
	// Settings are added to the server's configuration, and win over ours.
	Settings map[string]string
}

// Cluster is a running private PostgreSQL. Stop ends it; so does the end of
// the process that started it, however it ends.
type Cluster struct {
	cfg      Config
	owner    owner
	base     string // directory of the data, the log and the password
	socket   string // directory of the unix socket
	password string
	process  *exec.Cmd
	lifeline *os.File // its closing tells the watcher that we are gone
	exited   chan struct{}
	stop     sync.Once
	stopErr  error
}

const (
	socketPort   = 5432 // names the socket file; no TCP port is taken by it
	startTimeout = 60 * time.Second
	stopTimeout  = 60 * time.Second
	pollInterval = 10 * time.Millisecond
)

var (
	errEndedEarly = errors.New("PostgreSQL ended while starting")
	errNotReady   = errors.New("PostgreSQL did not take connections in time")
	errNotStopped = errors.New("PostgreSQL did not stop in time and was killed")
)

// Start makes the cluster if it does not exist, starts it and waits until it
// takes connections.
func Start(ctx context.Context, cfg Config) (*Cluster, error) {
	if cfg.BinDir == "" {
		dir, err := FindBinaries(ctx)
		if err != nil {
			return nil, err
		}
		cfg.BinDir = dir
	}
	account, err := findOwner()
	if err != nil {
		return nil, err
	}
	c := &Cluster{cfg: cfg, owner: account, exited: make(chan struct{})}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.removeFiles())
	}
	if err := c.launch(ctx); err != nil {
		return nil, errors.Join(err, c.removeFiles())
	}
	if err := c.awaitReady(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// URL is the connection string of one of the cluster's databases, through the
// unix socket.
func (c *Cluster) URL(database string) string {
	query := url.Values{"host": {c.socket}, "port": {strconv.Itoa(c.port())}, "user": {superuser}}
	return "postgres:///" + database + "?" + query.Encode()
}

// LoopbackURL is the connection string over TCP, "" unless Config.Port is set.
func (c *Cluster) LoopbackURL(database string) string {
	if c.cfg.Port == 0 {
		return ""
	}
	u := url.URL{
		Scheme: "postgres", Host: "127.0.0.1:" + strconv.Itoa(c.cfg.Port), Path: "/" + database,
		User: url.UserPassword(superuser, c.password), RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Pid is the process id of the server's main process.
func (c *Cluster) Pid() int { return c.process.Process.Pid }

// Exited is closed when the server has ended, by Stop or by itself.
func (c *Cluster) Exited() <-chan struct{} { return c.exited }

// Stop ends the server (in order when its data is kept, at once when it is
// not), waits for it, and removes what was temporary. It may be called twice.
func (c *Cluster) Stop() error {
	c.stop.Do(func() {
		if err := c.process.Process.Signal(c.stopSignal()); err != nil && !errors.Is(err, os.ErrProcessDone) {
			c.stopErr = fmt.Errorf("stop PostgreSQL: %w", err)
		}
		select {
		case <-c.exited:
		case <-time.After(stopTimeout):
			c.stopErr = errors.Join(c.stopErr, errNotStopped, c.process.Process.Kill())
			<-c.exited
		}
		c.stopErr = errors.Join(c.stopErr, c.lifeline.Close(), c.removeFiles())
	})
	return c.stopErr
}

// port names the socket file, and is the TCP port where there is one.
func (c *Cluster) port() int {
	if c.cfg.Port != 0 {
		return c.cfg.Port
	}
	return socketPort
}

func (c *Cluster) temporary() bool { return c.cfg.Dir == "" }

// stopSignal is PostgreSQL's fast shutdown for data that stays, and its
// immediate one, without a checkpoint, for data that goes.
func (c *Cluster) stopSignal() syscall.Signal {
	if c.temporary() {
		return syscall.SIGQUIT
	}
	return syscall.SIGINT
}

// removeFiles removes the socket's directory and, of a temporary cluster, the data.
func (c *Cluster) removeFiles() error {
	var errs []error
	if c.socket != "" {
		errs = append(errs, os.RemoveAll(c.socket))
	}
	if c.temporary() && c.base != "" {
		errs = append(errs, os.RemoveAll(c.base))
	}
	return errors.Join(errs...)
}

// watcher starts the server and leaves a process behind that reads from the
// lifeline. The read ends when the starting process has closed it or died,
// even by SIGKILL; then the server is ended and what was temporary removed.
// This works on every unix, where a parent-death signal exists on Linux alone
// and removes no files.
//
// The double fork keeps the watcher from being a child of the server, which
// would take its end for that of a backend. $$ is the server's own id, since
// exec keeps it.
const watcher = `signal=$1; shift
( (
	read -r line <&3
	kill -s "$signal" $$
	n=0
	while kill -0 $$ && [ "$n" -lt 600 ]; do sleep 0.1; n=$((n + 1)); done
	rm -rf "$PGCLUSTER_SOCKET" "$PGCLUSTER_TEMP"
) </dev/null >/dev/null 2>&1 & )
exec "$@" 3<&-`

func (c *Cluster) launch(ctx context.Context) error {
	logFile, err := os.OpenFile(c.logPath(), os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("open the server's log: %w", err)
	}
	defer func() { _ = logFile.Close() }() // the child holds its own copy
	dir, err := c.openData()
	if err != nil {
		return err
	}
	defer dir.close()
	reader, writer, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("make the lifeline: %w", err)
	}
	defer func() { _ = reader.Close() }() // the child holds its own copy

	arguments := append([]string{
		"-c", watcher, "pgcluster", signalName(c.stopSignal()),
		filepath.Join(c.cfg.BinDir, "postgres"), "-D", dir.path,
	}, c.settings()...)
	// Not CommandContext: the server outlives the context of its start.
	cmd := exec.Command("/bin/sh", arguments...) //nolint:noctx,gosec // see above; the arguments are our own
	temp := ""
	if c.temporary() {
		temp = c.base
	}
	cmd.Env = append(environment(), "PGCLUSTER_SOCKET="+c.socket, "PGCLUSTER_TEMP="+temp)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = logFile, logFile
	cmd.ExtraFiles = append([]*os.File{reader}, dir.files()...)
	cmd.SysProcAttr = c.owner.attributes()
	if err := ctx.Err(); err != nil {
		return errors.Join(err, writer.Close())
	}
	if err := cmd.Start(); err != nil {
		return errors.Join(fmt.Errorf("start PostgreSQL: %w", err), writer.Close())
	}
	c.process, c.lifeline = cmd, writer
	go func() {
		_ = cmd.Wait() // how it ended is in ProcessState, why in its log
		close(c.exited)
	}()
	return nil
}

// awaitReady waits for the word "ready", or "standby", that the server writes into
// postmaster.pid once it takes connections (it is what pg_ctl waits for).
func (c *Cluster) awaitReady(ctx context.Context) error {
	deadline := time.After(startTimeout)
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for PostgreSQL: %w", ctx.Err())
		case <-c.exited:
			return fmt.Errorf("%w (%s): %s", errEndedEarly, c.process.ProcessState, c.logTail())
		case <-deadline:
			return fmt.Errorf("%w (%s): %s", errNotReady, startTimeout, c.logTail())
		case <-tick.C:
			if c.ready() {
				return nil
			}
		}
	}
}

func (c *Cluster) ready() bool {
	const statusLine = 7 // the eighth line of postmaster.pid
	content, err := os.ReadFile(filepath.Join(c.dataPath(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(content), "\n")
	return len(lines) > statusLine &&
		strings.TrimSpace(lines[0]) == strconv.Itoa(c.Pid()) &&
		slices.Contains([]string{"ready", "standby"}, strings.TrimSpace(lines[statusLine]))
}

func (c *Cluster) logTail() string {
	const tail = 2000
	content, err := os.ReadFile(c.logPath())
	if err != nil {
		return err.Error()
	}
	if len(content) > tail {
		content = content[len(content)-tail:]
	}
	return strings.TrimSpace(string(content))
}

func (c *Cluster) dataPath() string { return filepath.Join(c.base, "data") }
func (c *Cluster) logPath() string  { return filepath.Join(c.base, "postgres.log") }

func signalName(s syscall.Signal) string {
	if s == syscall.SIGQUIT {
		return "QUIT"
	}
	return "INT"
}

// environment is the little that PostgreSQL needs: nothing of the caller's
// PG* variables may leak into a private cluster.
func environment() []string {
	return []string{"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=C", "TZ=UTC"}
}

// dataDir is how the server is told where its data is.
type dataDir struct {
	path string
	file *os.File
}

// openData names the data directory for the server. Where the owner may not
// walk down to it (a clone below /root), the directory is opened here and
// handed over: /proc/self/fd leads the server and each of its processes
// straight to it.
func (c *Cluster) openData() (dataDir, error) {
	const dataFD = 4 // after the standard three and the lifeline
	if c.owner.reaches(c.dataPath()) {
		return dataDir{path: c.dataPath()}, nil
	}
	if runtime.GOOS != "linux" {
		return dataDir{}, fmt.Errorf("the account that PostgreSQL runs under may not enter %s", c.base)
	}
	file, err := os.Open(c.dataPath())
	if err != nil {
		return dataDir{}, fmt.Errorf("open the data directory: %w", err)
	}
	return dataDir{path: "/proc/self/fd/" + strconv.Itoa(dataFD), file: file}, nil
}

func (d dataDir) files() []*os.File {
	if d.file == nil {
		return nil
	}
	return []*os.File{d.file}
}

func (d dataDir) close() {
	if d.file != nil {
		_ = d.file.Close() // opened for reading: nothing can be lost
	}
}

func newPassword() string { return rand.Text() }
