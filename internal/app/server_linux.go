package app

import (
	"errors"
	"syscall"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which package syscall does not name (RFC 5482, tcp(7)).
const tcpUserTimeout = 18

// boundUnacked sets unackedTimeout on a listening socket, from which accepted
// connections inherit it. Keep-alive probes end by it, too.
func boundUnacked(_, _ string, c syscall.RawConn) error {
	var setErr error
	err := c.Control(func(fd uintptr) {
		setErr = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(unackedTimeout.Milliseconds()))
	})
	return errors.Join(err, setErr)
}
