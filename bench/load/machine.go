package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/config"
	"mls-server/internal/pgcluster"
)

const (
	serviceDID = "did:web:mls.test"
	database   = "mls"
)

// machine is what a run measures: PostgreSQL and the server on it.
type machine struct {
	binary    string
	cluster   *pgcluster.Cluster
	directory *directory
	env       []string
	address   string // of the server's public port
	admin     string
	cmd       *exec.Cmd
	log       bytes.Buffer
	people    []*identity
	convos    []convo
	pages     []convo // conversations that pages are read of
	// pagesFilled: they have their messages.
	pagesFilled bool
	flat        map[string]convo // conversations of particular sizes
	redis       *redisServer
}

func startMachine(ctx context.Context, binary, data string) (*machine, error) {
	cluster, err := pgcluster.Start(ctx, pgcluster.Config{Dir: data, Database: database, Settings: map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "max_connections": "200", "shared_buffers": "256MB", "max_wal_size": "4GB",
	}})
	if err != nil {
		return nil, err
	}
	d, err := newDirectory()
	if err != nil {
		return nil, err
	}
	m := &machine{binary: binary, cluster: cluster, directory: d, flat: map[string]convo{}}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	m.address, m.admin = "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1]
	m.env = []string{
		// Production refuses EGRESS_ALLOW, which the directory on loopback needs;
		// the two differ in defaults that are set here, and in what they refuse.
		"MLS_ENV=development", "SERVICE_DID=" + serviceDID, "DATABASE_URL=" + cluster.URL(database), "SERVER_HOST=127.0.0.1", "SERVER_PORT=" + ports[0],
		"ADMIN_PORT=" + ports[1], "LOG_LEVEL=warn", "PLC_URL=" + d.url, "APPVIEW_URL=" + d.url, "EGRESS_ALLOW=" + strings.TrimPrefix(d.url, "http://"),
	}
	for _, v := range config.Variables() {
		if strings.HasPrefix(v.Name, "RATE_LIMIT_") {
			m.env = append(m.env, v.Name+"=1000000")
		}
	}
	migrate := exec.CommandContext(ctx, binary, "migrate")
	migrate.Env = m.env
	if out, err := migrate.CombinedOutput(); err != nil {
		m.stop()
		return nil, fmt.Errorf("migrate: %w: %s", err, out)
	}
	return m, nil
}

func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a port: %w", err)
		}
		defer func() { _ = l.Close() }() // nothing was read from it
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports, nil
}

func (m *machine) stop() {
	m.stopServer()
	m.redis.stop()
	_ = m.cluster.Stop() // the data goes with the run
}

func (m *machine) stopServer() {
	if m.cmd != nil {
		_ = m.cmd.Process.Signal(os.Interrupt) // it may have ended
		_ = m.cmd.Wait()
		m.cmd = nil
	}
}

// startServer returns how long it took from exec until the server was ready.
func (m *machine) startServer(ctx context.Context, env ...string) (time.Duration, error) {
	m.stopServer()
	m.cmd = exec.CommandContext(ctx, m.binary, "serve")
	m.cmd.Env, m.cmd.Stderr = append(append([]string{}, m.env...), env...), &m.log
	begin := time.Now()
	if err := m.cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the server: %w", err)
	}
	for time.Since(begin) < 20*time.Second {
		resp, err := http.Get("http://" + m.address + "/health/ready") //nolint:noctx // bounded by the loop
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begin), nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return 0, fmt.Errorf("the server does not get ready: %s", m.log.String())
}

// rss is a process's resident memory in bytes, now and at its peak.
func rss(pid int) (now, peak int64) {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, 0
	}
	for line := range strings.SplitSeq(string(status), "\n") {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		n, _ := strconv.ParseInt(fields[1], 10, 64)
		switch fields[0] {
		case "VmRSS:":
			now = n << 10
		case "VmHWM:":
			peak = n << 10
		}
	}
	return now, peak
}

// cpu is the time that a process has computed, in clock ticks of 10 ms.
func cpu(pid int) time.Duration {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0
	}
	return ticks(fields[11:13])
}

// databaseCPU is the time that PostgreSQL's processes have computed: those that run, and those that
// have ended.
func (m *machine) databaseCPU() (all time.Duration) {
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0
	}
	postmaster := strconv.Itoa(m.cluster.Pid())
	for _, path := range processes {
		stat, err := os.ReadFile(path) //nolint:gosec // of /proc
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		switch {
		case len(fields) < 15:
		case fields[1] == postmaster:
			all += ticks(fields[11:13])
		case path == "/proc/"+postmaster+"/stat":
			all += ticks(fields[11:15])
		}
	}
	return all
}

// ticks adds up clock ticks of 10 ms.
func ticks(fields []string) (all time.Duration) {
	for _, f := range fields {
		n, _ := strconv.ParseInt(f, 10, 64)
		all += time.Duration(n) * 10 * time.Millisecond
	}
	return all
}

// connect opens a connection past the server.
func (m *machine) connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, m.cluster.URL(database))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return conn, nil
}

func describe(ctx context.Context, m *machine, r *report) error {
	conn, err := m.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(ctx) }()
	var postgres, durable string
	if err := conn.QueryRow(ctx, "SELECT version(), 'fsync ' || current_setting('fsync') || ', synchronous_commit ' || current_setting('synchronous_commit')").Scan(&postgres, &durable); err != nil {
		return fmt.Errorf("ask PostgreSQL: %w", err)
	}
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(info), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	load, _ := os.ReadFile("/proc/loadavg") // decoration: shows whether others were at work
	info, err := os.Stat(m.binary)
	if err != nil {
		return fmt.Errorf("look at the binary: %w", err)
	}
	r.binarySize = info.Size()
	r.facts = []string{
		fmt.Sprintf("%s, %d processors, %s/%s", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH), postgres, durable, runtime.Version(),
		"load average before the run: " + strings.TrimSpace(string(load)),
	}
	return nil
}

// plotPath is where a plot goes, beside the report.
func plotPath(out, name string) string { return filepath.Join(out, name+".svg") }
