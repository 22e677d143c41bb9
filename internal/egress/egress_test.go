package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var errStop = errors.New("stopped before connect")

func listen(t *testing.T) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// silentListener is a TCP port on loopback that fails the test when anybody connects.
func silentListener(t *testing.T) (port string) {
	t.Helper()
	ln := listen(t)
	var touched atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			touched.Add(1)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() {
		// What connected before Close is still handed to Accept in order, so a
		// connection of our own, sent last, flushes the queue.
		var d net.Dialer
		conn, err := d.DialContext(context.WithoutCancel(t.Context()), "tcp4", ln.Addr().String())
		if err != nil {
			t.Errorf("flush: %v", err)
		} else {
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
		_ = ln.Close()
		<-done
		if n := touched.Load(); n != 1 {
			t.Errorf("the forbidden listener was connected to %d times", n-1)
		}
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// fakeDNS answers A and AAAA questions over UDP. Each name has a list of
// answers; lookups walk through it and stay at the last.
type fakeDNS struct {
	mu    sync.Mutex
	names map[string][][]string
	seen  map[string]int
	addr  string
}

func newFakeDNS(t *testing.T, names map[string][][]string) *net.Resolver {
	t.Helper()
	var lc net.ListenConfig
	pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pc.Close() })
	d := &fakeDNS{names: names, seen: map[string]int{}, addr: pc.LocalAddr().String()}
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := pc.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := d.answer(buf[:n]); answer != nil {
				_, _ = pc.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var nd net.Dialer
		return nd.DialContext(ctx, "udp", d.addr)
	}}
}

func (d *fakeDNS) answer(q []byte) []byte {
	i, labels := 12, []string{}
	for i < len(q) && q[i] != 0 {
		n := int(q[i])
		if i+1+n > len(q) {
			return nil
		}
		labels = append(labels, string(q[i+1:i+1+n]))
		i += 1 + n
	}
	if i+5 > len(q) {
		return nil
	}
	qtype := binary.BigEndian.Uint16(q[i+1:])
	name := strings.ToLower(strings.Join(labels, "."))

	d.mu.Lock()
	rounds, ok := d.names[name]
	key := fmt.Sprintf("%s/%d", name, qtype)
	round := min(d.seen[key], len(rounds)-1)
	d.seen[key]++
	d.mu.Unlock()

	out := append([]byte{}, q[:2]...)
	rcode := byte(0)
	var records [][]byte
	if !ok {
		rcode = 3
	} else {
		for _, s := range rounds[round] {
			a := netip.MustParseAddr(s)
			if (qtype == 1 && a.Is4()) || (qtype == 28 && a.Is6()) {
				records = append(records, a.AsSlice())
			}
		}
	}
	out = append(out, 0x81, 0x80|rcode, 0, 1, 0, byte(len(records)), 0, 0, 0, 0)
	out = append(out, q[12:i+5]...)
	for _, r := range records {
		out = append(out, 0xc0, 12)
		out = binary.BigEndian.AppendUint16(out, qtype)
		out = append(out, 0, 1, 0, 0, 0, 0)
		out = binary.BigEndian.AppendUint16(out, uint16(len(r)))
		out = append(out, r...)
	}
	return out
}

func mustNew(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.CloseIdle)
	return c
}

func get(t *testing.T, c *Client, url string) error {
	t.Helper()
	_, err := c.Get(t.Context(), Request{URL: url, Purpose: PurposePDS})
	return err
}

// Each spelling below reaches loopback, or some other forbidden place, with one
// parser or another. None may be dialled.
func TestGetRefusesForbiddenHostSpellings(t *testing.T) {
	t.Parallel()
	port := silentListener(t)
	c := mustNew(t, Config{})
	hosts := []string{
		"127.0.0.1", "127.1", "127.0.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "0x7f.1", "0177.0.0.1", "017700000001",
		"127.0.0.1.", "127.000.000.001", "0", "0.0.0.0", "localhost", "LOCALHOST", "localhost.", "foo.localhost.0",
		"%31%32%37.0.0.1", "127%2e0%2e0%2e1", "127.0.0.1%00.example.com", "127。0。0。1", "①②⑦.⓪.⓪.①",
		"[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:7f00:0001]", "[::127.0.0.1]",
		"[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1%25lo]", "[::1%25lo]",
		"169.254.169.254", "metadata", "10.0.0.1", "user@127.0.0.1", "example.com@127.0.0.1", "127.0.0.1:80@127.0.0.1",
		"-bad.example", "bad-.example", "a..example", "ex ample.com", "example.c!m", "", ".", "..",
	}
	for _, h := range hosts {
		for _, scheme := range []string{"https", "http"} {
			url := scheme + "://" + h + ":" + port + "/xrpc"
			if err := get(t, c, url); !errors.Is(err, ErrForbidden) {
				t.Errorf("%s: %v, want ErrForbidden", url, err)
			}
		}
	}
}

func TestGetRefusesOtherSchemes(t *testing.T) {
	t.Parallel()
	c := mustNew(t, Config{})
	for _, url := range []string{
		"http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/",
		"example.com", "", "https:", "https:example.com", "https:///x", "unix:///run/x.sock", "data:text/plain,x", "\x00",
	} {
		if err := get(t, c, url); !errors.Is(err, ErrForbidden) {
			t.Errorf("%q: %v, want ErrForbidden", url, err)
		}
	}
}

// Names whose records point at forbidden addresses pass every check of the URL;
// the socket's own check stops them.
func TestGetChecksResolvedAddresses(t *testing.T) {
	t.Parallel()
	port := silentListener(t)
	names := map[string][][]string{
		"loop4.example.com":   {{"127.0.0.1"}},
		"loop6.example.com":   {{"::1"}},
		"mapped.example.com":  {{"::ffff:127.0.0.1"}},
		"nat64.example.com":   {{"64:ff9b::7f00:1"}},
		"meta.example.com":    {{"169.254.169.254"}},
		"private.example.com": {{"10.1.2.3", "192.168.1.1", "fd00::1"}},
		"several.example.com": {{"127.0.0.1", "::1", "100.64.0.1"}},
		"zero.example.com":    {{"0.0.0.0"}},
	}
	c := mustNew(t, Config{Resolver: newFakeDNS(t, names)})
	for name := range names {
		if err := get(t, c, "https://"+name+":"+port+"/"); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want ErrForbidden", name, err)
		}
	}
	if err := get(t, c, "https://absent.example.com/"); !errors.Is(err, ErrUnknownHost) {
		t.Errorf("absent name: %v, want ErrUnknownHost", err)
	}
}

// A name that is public when first resolved and loopback afterwards: the check
// belongs to each connection, so the second answer is refused like a first one.
func TestGetSurvivesDNSRebinding(t *testing.T) {
	t.Parallel()
	port := silentListener(t)
	c := mustNew(t, Config{Resolver: newFakeDNS(t, map[string][][]string{
		"rebind.example.com": {{"93.184.215.14"}, {"127.0.0.1"}},
		"mixed.example.com":  {{"127.0.0.1", "93.184.215.14"}},
	})})
	var mu sync.Mutex
	var passed []string
	c.beforeConnect = func(ap netip.AddrPort) error {
		mu.Lock()
		defer mu.Unlock()
		passed = append(passed, ap.Addr().String())
		return errStop
	}
	url := "https://rebind.example.com:" + port + "/"
	if err := get(t, c, url); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("first: %v, want ErrUnreachable from the hook", err)
	}
	for range 3 {
		if err := get(t, c, url); !errors.Is(err, ErrForbidden) {
			t.Fatalf("rebound: %v, want ErrForbidden", err)
		}
	}
	_ = get(t, c, "https://mixed.example.com:"+port+"/")
	mu.Lock()
	defer mu.Unlock()
	for _, a := range passed {
		if a != "93.184.215.14" {
			t.Errorf("connect to %s was about to happen", a)
		}
	}
	if len(passed) < 1 {
		t.Error("the public address never passed")
	}
}

func allowServer(t *testing.T, h http.Handler) (*httptest.Server, string) {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s, strings.TrimPrefix(s.URL, "http://")
}

func TestGetRedirects(t *testing.T) {
	t.Parallel()
	port := silentListener(t)
	var target atomic.Value
	target.Store("")
	s, hostPort := allowServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/to":
			w.Header().Set("Location", target.Load().(string)) //nolint:errcheck,forcetypeassert // only strings are stored
			w.WriteHeader(http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		default:
			_, _ = io.WriteString(w, "landed")
		}
	}))
	c := mustNew(t, Config{Allow: []string{hostPort, "localhost:" + port}})

	for _, to := range []string{
		"http://127.0.0.1:" + port + "/", "https://127.0.0.1:" + port + "/", "http://localhost:" + port + "/",
		"http://169.254.169.254/latest/meta-data", "//127.0.0.1:" + port + "/", "https://" + hostPort + "/",
		"http://[::1]:" + port + "/", "http://u:p@" + hostPort + "/", "file:///etc/passwd", "gopher://x/",
	} {
		target.Store(to)
		if err := get(t, c, s.URL+"/to"); !errors.Is(err, ErrRedirect) {
			t.Errorf("redirect to %s: %v, want ErrRedirect", to, err)
		}
	}
	if err := get(t, c, s.URL+"/loop"); !errors.Is(err, ErrRedirect) {
		t.Errorf("loop: %v, want ErrRedirect", err)
	}
	target.Store("/elsewhere")
	resp, err := c.Get(t.Context(), Request{URL: s.URL + "/to"})
	if err != nil || string(resp.Body) != "landed" {
		t.Errorf("redirect within the origin: %v, %v", resp, err)
	}
	if _, err := c.Get(t.Context(), Request{URL: s.URL + "/to", NoRedirect: true}); !errors.Is(err, ErrRedirect) {
		t.Errorf("redirect with NoRedirect: %v, want ErrRedirect", err)
	}
}

func TestGetCapsTheBody(t *testing.T) {
	t.Parallel()
	s, hostPort := allowServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.URL.Query().Get("n"), &n)
		w.(http.Flusher).Flush() //nolint:errcheck,forcetypeassert // net/http's writer flushes; no Content-Length this way
		_, _ = w.Write(make([]byte, n))
	}))
	c := mustNew(t, Config{Allow: []string{hostPort}})
	for _, tc := range []struct {
		n, limit int64
		want     error
	}{
		{DefaultMaxBody, 0, nil},
		{DefaultMaxBody + 1, 0, ErrTooLarge},
		{10, 10, nil},
		{11, 10, ErrTooLarge},
		{1 << 20, 1 << 20, nil},
	} {
		resp, err := c.Get(t.Context(), Request{URL: fmt.Sprintf("%s/?n=%d", s.URL, tc.n), MaxBody: tc.limit})
		if !errors.Is(err, tc.want) || (err == nil && int64(len(resp.Body)) != tc.n) {
			t.Errorf("%d bytes, limit %d: %v", tc.n, tc.limit, err)
		}
	}
}

func TestGetTimesOutAndObeysTheCaller(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	s, hostPort := allowServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer close(release)
	c := mustNew(t, Config{Allow: []string{hostPort}, Timeout: 50 * time.Millisecond})
	if err := get(t, c, s.URL); !errors.Is(err, ErrTimeout) {
		t.Errorf("silent server: %v, want ErrTimeout", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, Request{URL: s.URL}); !errors.Is(err, ErrCanceled) {
		t.Errorf("canceled: %v, want ErrCanceled", err)
	}
}

func TestGetReportsOutcomes(t *testing.T) {
	t.Parallel()
	s, hostPort := allowServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("User-Agent") != "mls-server-test" || r.Header.Get("Accept") != "application/json" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		w.Header().Set("Content-Type", "text/x")
		w.WriteHeader(http.StatusNotFound)
	}))
	var got []string
	c := mustNew(t, Config{Allow: []string{hostPort}, UserAgent: "mls-server-test", Observe: func(p Purpose, outcome string, _ time.Duration) {
		got = append(got, string(p)+" "+outcome)
	}})
	resp, err := c.Get(t.Context(), Request{URL: s.URL, Purpose: PurposePLC})
	if err != nil || resp.Status != http.StatusNotFound || resp.ContentType != "text/x" {
		t.Fatalf("%+v, %v", resp, err)
	}
	_ = get(t, c, "https://10.0.0.1/")
	if want := "[plc 4xx pds forbidden]"; fmt.Sprint(got) != want {
		t.Errorf("observed %v, want %v", got, want)
	}
}

// Error texts may end up in a log line, so they hold nothing of the request (I9).
func TestErrorsDoNotNameTheURL(t *testing.T) {
	t.Parallel()
	ln := listen(t)
	closed := ln.Addr().String()
	_ = ln.Close()
	c := mustNew(t, Config{Allow: []string{closed}, Resolver: newFakeDNS(t, nil)})
	for _, url := range []string{"http://" + closed + "/did:plc:secret", "https://absent-secret.example.com/", "https://127.0.0.1/secret", "::secret"} {
		err := get(t, c, url)
		if err == nil || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "127.0.0.1") {
			t.Errorf("%s: error text %q", url, err)
		}
	}
}

func TestAllowListIsExact(t *testing.T) {
	t.Parallel()
	port := silentListener(t)
	_, hostPort := allowServer(t, http.NotFoundHandler())
	c := mustNew(t, Config{Allow: []string{" " + strings.ToUpper(hostPort) + " ", "Example.COM:8443"}})
	if err := get(t, c, "http://"+hostPort+"/"); err != nil {
		t.Errorf("allowed: %v", err)
	}
	for _, url := range []string{"http://127.0.0.1:" + port, "https://127.0.0.1:" + port, "http://127.0.0.1", "http://example.com"} {
		if err := get(t, c, url); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want ErrForbidden", url, err)
		}
	}
	if !c.Allowed("example.com:8443") || c.Allowed("example.com:443") {
		t.Error("Allowed does not follow the list")
	}
	for _, bad := range []string{"example.com", ":80", "example.com:", "example.com:http", "example.com:0", "example.com:70000", "http://x:80/"} {
		if _, err := New(Config{Allow: []string{bad}}); err == nil {
			t.Errorf("allow-list entry %q is accepted", bad)
		}
	}
}

// Whoever names the URL would choose what a server is told as credentials; an
// entry of the allow-list lifts nothing of that.
func TestUserInfoIsRefused(t *testing.T) {
	t.Parallel()
	asked := false
	_, hostPort := allowServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	c := mustNew(t, Config{Allow: []string{hostPort}})
	c.beforeConnect = func(netip.AddrPort) error {
		asked = true
		return errStop
	}
	for _, url := range []string{
		"https://user@93.184.215.14/", "https://user:pass@93.184.215.14/", "https://@93.184.215.14/",
		"http://user@" + hostPort + "/", "http://user:pass@" + hostPort + "/",
	} {
		if err := get(t, c, url); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %v, want ErrForbidden", url, err)
		}
	}
	if asked {
		t.Error("a URL with user info was followed")
	}
}

// A small answer that unpacks to a large one is cut off like a large one.
func TestGetCapsCompressedBodies(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 16<<20))
	_ = z.Close()
	s, hostPort := allowServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(bomb.Bytes())
	}))
	if err := get(t, mustNew(t, Config{Allow: []string{hostPort}}), s.URL); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

func TestGetVerifiesCertificates(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // the refused handshake is meant
	s.StartTLS()
	t.Cleanup(s.Close)
	hostPort := strings.TrimPrefix(s.URL, "https://")
	if err := get(t, mustNew(t, Config{Allow: []string{hostPort}}), s.URL); !errors.Is(err, ErrUnreachable) {
		t.Errorf("unknown authority: %v, want ErrUnreachable", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if err := get(t, mustNew(t, Config{Allow: []string{hostPort}, RootCAs: roots}), s.URL); err != nil {
		t.Errorf("known authority: %v", err)
	}
}
