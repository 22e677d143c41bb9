package app

import (
	"net"
	"syscall"
	"testing"
)

// Accepted connections have what finds out a peer that vanished.
func TestAcceptedConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	l, err := listen(t.Context(), "127.0.0.1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	client, err := new(net.Dialer).DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = accepted.Close() }()
	raw, err := accepted.(*net.TCPConn).SyscallConn() //nolint:errcheck // a TCP listener accepts nothing else
	if err != nil {
		t.Fatal(err)
	}
	for _, option := range []struct {
		name             string
		level, opt, want int
	}{
		{"TCP_USER_TIMEOUT", syscall.IPPROTO_TCP, 18, 45_000},
		{"SO_KEEPALIVE", syscall.SOL_SOCKET, syscall.SO_KEEPALIVE, 1},
	} {
		got, getErr := 0, error(nil)
		err := raw.Control(func(fd uintptr) { got, getErr = syscall.GetsockoptInt(int(fd), option.level, option.opt) })
		if err != nil || getErr != nil || got != option.want {
			t.Errorf("%s is %d, want %d (%v, %v)", option.name, got, option.want, err, getErr)
		}
	}
}
