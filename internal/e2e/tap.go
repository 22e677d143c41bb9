package e2e

import (
	"context"
	"io"
	"net"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// Tap stands between a server and its database, and keeps what the server says: statements with all
// their arguments, as they are on the wire.
type Tap struct {
	// URL is the database behind the tap.
	URL string

	mu         sync.Mutex
	said       []byte
	asks, told int64
}

// NewTap puts a tap before a database for as long as the test lasts.
func NewTap(tb testing.TB, databaseURL string) *Tap {
	tb.Helper()
	cfg, err := pgconn.ParseConfig(databaseURL)
	if err != nil {
		tb.Fatal(err)
	}
	network, address := pgconn.NetworkAddress(cfg.Host, cfg.Port)
	l, err := new(net.ListenConfig).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	host, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cfg.User, cfg.Password), Host: net.JoinHostPort(host, port), Path: "/" + cfg.Database, RawQuery: "sslmode=disable"}
	t := &Tap{URL: u.String()}
	var open sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { t.relay(ctx, conn, network, address) })
		}
	})
	tb.Cleanup(func() {
		cancel()
		_ = l.Close()
		open.Wait()
	})
	return t
}

// relay carries one connection until either side ends it, or ctx.
func (t *Tap) relay(ctx context.Context, server net.Conn, network, address string) {
	database, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		_ = server.Close()
		return
	}
	closeBoth := sync.OnceFunc(func() {
		_ = server.Close()
		_ = database.Close()
	})
	defer closeBoth()
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer closeBoth()
		_, _ = io.Copy(server, &counted{database, t, &t.told, false})
	}()
	_, _ = io.Copy(database, &counted{server, t, &t.asks, true})
	closeBoth()
	<-done
}

// counted notes what is read through it.
type counted struct {
	io.Reader

	t    *Tap
	n    *int64
	keep bool
}

// Read implements io.Reader.
func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.t.mu.Lock()
	defer c.t.mu.Unlock()
	*c.n += int64(n)
	if c.keep {
		c.t.said = append(c.t.said, b[:n]...)
	}
	return n, err
}

// Said is what the server has said since the last call.
func (t *Tap) Said() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	said := string(t.said)
	t.said = nil
	return said
}

// Bytes is how many bytes have gone to the database and come from it.
func (t *Tap) Bytes() (asked, told int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.asks, t.told
}

// String says how much has passed.
func (t *Tap) String() string {
	asked, told := t.Bytes()
	return strconv.FormatInt(asked, 10) + " bytes asked, " + strconv.FormatInt(told, 10) + " told"
}
