package streambench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"mls-server/internal/app"
	"mls-server/internal/authtest"
	"mls-server/internal/config"
	"mls-server/internal/mls"
	"mls-server/internal/pgtest"
	"mls-server/internal/store"
)

const (
	// serverVariable makes the test binary a server.
	serverVariable = "STREAMBENCH_SERVER"
	serviceDID     = "did:web:mls.test"
	streamNSID     = "blue.catbird.mls.streamConvoEvents"
	sendNSID       = "blue.catbird.mls.sendMessage"
)

// quiet drops what the Redis client says while its server is killed on purpose.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func TestMain(m *testing.M) {
	redis.SetLogger(quiet{})
	if os.Getenv(serverVariable) == "" {
		os.Exit(m.Run())
	}
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

// serve runs the whole server until SIGTERM, or until the test that started it is gone.
func serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg, err := config.Load(os.LookupEnv)
	if err != nil {
		return err
	}
	server, err := app.Build(ctx, cfg, os.Stderr)
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return server.Run(ctx, func(public, admin net.Addr) { fmt.Println(public, admin) })
}

// world is what the servers of a test share.
type world struct {
	url       string
	directory *authtest.Directory
	store     *store.Store
	users     []*authtest.Identity
	env       []string
}

func newWorld(tb testing.TB, users int, committed func()) *world {
	tb.Helper()
	w := &world{url: pgtest.New(tb), directory: authtest.NewDirectory(tb, nil)}
	var err error
	if w.store, err = store.New(tb.Context(), store.Config{URL: w.url, MaxConns: 24, Committed: committed}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(w.store.Close)
	for range users {
		w.users = append(w.users, w.directory.NewIdentity(authtest.P256))
	}
	w.env = append(os.Environ(),
		serverVariable+"=1", "MLS_ENV=development", "SERVICE_DID="+serviceDID, "DATABASE_URL="+w.url, "SERVER_HOST=127.0.0.1", "SERVER_PORT=0",
		"ADMIN_PORT=0", "LOG_LEVEL=error", "PLC_URL="+w.directory.URL(), "EGRESS_ALLOW="+strings.Join(w.directory.HostPorts(), ","),
	)
	for _, v := range config.Variables() {
		if strings.HasPrefix(v.Name, "RATE_LIMIT_") {
			w.env = append(w.env, v.Name+"=1000000")
		}
	}
	return w
}

// process is a running server.
type process struct {
	public, admin string
	cmd           *exec.Cmd
	stdin         io.Closer
	client        *http.Client
}

func (w *world) start(tb testing.TB, env ...string) *process {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	p := &process{cmd: exec.Command(self), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}} //nolint:noctx // it outlives no test, see serve
	p.cmd.Env, p.cmd.Stderr = slices.Concat(w.env, env), os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	addresses := strings.Fields(line)
	if err != nil || len(addresses) != 2 {
		tb.Fatalf("the server said %q, %v", line, err)
	}
	p.public, p.admin = addresses[0], addresses[1]
	return p
}

// kill ends a server without warning.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	_ = p.stdin.Close()
}

// send sends a message over HTTP and returns when it was answered.
func (p *process) send(ctx context.Context, bearer string, convo mls.ConvoID, id mls.MessageID, size int) (time.Time, error) {
	ciphertext := strings.Repeat("A", (size*4+2)/3)
	body := fmt.Sprintf(`{"convoId":%q,"msgId":%q,"idempotencyKey":%q,"ciphertext":{"$bytes":%q},"epoch":0,"paddedSize":%d}`, convo, id, id, ciphertext, size)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.public+"/xrpc/"+sendNSID, strings.NewReader(body))
	if err != nil {
		return time.Time{}, err
	}
	r.Header.Set("Authorization", bearer)
	r.Header.Set("Content-Type", "application/json")
	resp, err := p.client.Do(r)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	answered := time.Now()
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("sendMessage: %d %s", resp.StatusCode, text)
	}
	return answered, err
}

// events is a stream as a client reads it.
type events struct {
	conn net.Conn
	body *bufio.Reader
	// id is the position to resume after.
	id string
	// socket says that it is a WebSocket.
	socket bool
}

// follow opens a stream on a connection of its own.
func (p *process) follow(user *authtest.Identity, cursor string) (*events, error) {
	conn, err := net.DialTimeout("tcp", p.public, 10*time.Second) //nolint:noctx // bounded by its timeout
	if err != nil {
		return nil, err
	}
	request := "GET /xrpc/" + streamNSID + " HTTP/1.1\r\nHost: mls.test\r\nAuthorization: " + user.Bearer(serviceDID, streamNSID) +
		"\r\nAccept: text/event-stream\r\nLast-Event-ID: " + cursor + "\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		_ = conn.Close()
		return nil, err
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 4096), nil) //nolint:bodyclose // it ends with its connection
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(resp.Body)
		_ = conn.Close()
		return nil, fmt.Errorf("streamConvoEvents: %d %s", resp.StatusCode, text)
	}
	e := &events{conn: conn, body: bufio.NewReaderSize(resp.Body, 4096), id: cursor}
	// The greeting has the position, and no event.
	for e.id == cursor {
		line, err := e.body.ReadSlice('\n')
		if err != nil {
			_ = conn.Close()
			return nil, err
		}
		if id, ok := bytes.CutPrefix(line, []byte("id: ")); ok {
			e.id = string(bytes.TrimSpace(id))
			break
		}
	}
	return e, nil
}

// next returns the data of the next event, valid until the next call, and
// moves the position behind it.
func (e *events) next(data []byte) ([]byte, error) {
	if e.socket {
		return e.message(data)
	}
	id := ""
	data = data[:0]
	for {
		line, err := e.body.ReadSlice('\n')
		long := err == bufio.ErrBufferFull //nolint:errorlint // documented as this value
		if err != nil && !long {
			return nil, err
		}
		switch {
		case bytes.HasPrefix(line, []byte("id: ")):
			id = string(bytes.TrimSpace(line[4:]))
		case bytes.HasPrefix(line, []byte("data: ")):
			data = append(data, line[6:]...)
			for long {
				line, err = e.body.ReadSlice('\n')
				if long = err == bufio.ErrBufferFull; err != nil && !long { //nolint:errorlint // as above
					return nil, err
				}
				data = append(data, line...)
			}
		case len(line) == 1:
			if id != "" {
				e.id = id
			}
			if len(data) > 0 {
				return data, nil
			}
			id = ""
		}
	}
}

// usage is what the kernel says of a process.
type usage struct {
	rss int64
	cpu time.Duration
}

func (p *process) usage(tb testing.TB) usage {
	tb.Helper()
	dir := "/proc/" + strconv.Itoa(p.cmd.Process.Pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		tb.Fatal(err)
	}
	var u usage
	for line := range strings.SplitSeq(string(status), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && fields[0] == "VmRSS:" {
			kib, _ := strconv.ParseInt(fields[1], 10, 64)
			u.rss = kib << 10
		}
	}
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		tb.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	for _, i := range []int{11, 12} { // utime, stime: in ticks of 10 ms
		ticks, _ := strconv.ParseInt(fields[i], 10, 64)
		u.cpu += time.Duration(ticks) * 10 * time.Millisecond
	}
	return u
}

// metric sums the samples of a metric whose labels contain all of the parts.
func (p *process) metric(tb testing.TB, name string, labels ...string) float64 {
	tb.Helper()
	resp, err := p.client.Get("http://" + p.admin + "/metrics") //nolint:noctx // a test's own server
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	sum := 0.0
	for scan := bufio.NewScanner(resp.Body); scan.Scan(); {
		line := scan.Text()
		rest, ok := strings.CutPrefix(line, name)
		if !ok || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		all := true
		for _, l := range labels {
			all = all && strings.Contains(rest, l)
		}
		if all {
			v, _ := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
			sum += v
		}
	}
	return sum
}
