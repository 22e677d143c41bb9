package store

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// Connections to the database are given up when nothing acknowledges what was
// sent, and opening one takes no longer than 5 s or what the URL says.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = l.Close() }()
	for query, want := range map[string]time.Duration{"": 5 * time.Second, "?connect_timeout=2": 2 * time.Second} {
		s, err := New(t.Context(), Config{URL: "postgres://mls@" + l.Addr().String() + "/mls" + query})
		must(t, err)
		defer s.Close()
		config := s.pool.Config().ConnConfig
		if config.ConnectTimeout != want {
			t.Errorf("with %q a connection may take %v to open, want %v", query, config.ConnectTimeout, want)
		}
		conn, err := config.DialFunc(t.Context(), "tcp", l.Addr().String())
		must(t, err)
		defer func() { _ = conn.Close() }()
		raw, err := conn.(*net.TCPConn).SyscallConn() //nolint:errcheck // it dials TCP
		must(t, err)
		got, getErr := 0, error(nil)
		must(t, raw.Control(func(fd uintptr) { got, getErr = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 18) }))
		if getErr != nil || got != 15_000 {
			t.Errorf("TCP_USER_TIMEOUT is %d ms (%v)", got, getErr)
		}
	}
}
