package netopt

import (
	"errors"
	"strings"
	"syscall"
	"time"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name (RFC 5482, tcp(7)).
const tcpUserTimeout = 18

// Unacked returns a Control function for net.ListenConfig and net.Dialer that
// bounds how long sent bytes and keep-alive probes may wait for their
// acknowledgement before the kernel gives a TCP connection up. Without it the
// kernel repeats for a quarter of an hour. Accepted connections inherit it.
// Sockets that are not TCP are left as they are. Multipath TCP sockets do not
// know the option.
func Unacked(d time.Duration) func(network, address string, c syscall.RawConn) error {
	return func(network, _ string, c syscall.RawConn) error {
		if !strings.HasPrefix(network, "tcp") {
			return nil
		}
		var setErr error
		err := c.Control(func(fd uintptr) {
			setErr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(d.Milliseconds()))
		})
		return errors.Join(err, setErr)
	}
}
