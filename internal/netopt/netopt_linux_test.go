package netopt_test

import (
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"mls-server/internal/netopt"
)

// A TCP connection has the option, and a Unix one opens all the same.
func TestUnacked(t *testing.T) {
	t.Parallel()
	dialer := net.Dialer{Control: netopt.Unacked(15 * time.Second)}
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		conn, err := dialer.DialContext(t.Context(), network, l.Addr().String())
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		defer func() { _ = conn.Close() }()
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			continue
		}
		raw, err := tcp.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		got, getErr := 0, error(nil)
		err = raw.Control(func(fd uintptr) { got, getErr = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, 18) })
		if err != nil || getErr != nil || got != 15_000 {
			t.Errorf("TCP_USER_TIMEOUT is %d ms (%v, %v)", got, err, getErr)
		}
	}
}
