//go:build !linux

package netopt

import (
	"syscall"
	"time"
)

// Unacked does nothing where the option does not exist: the system's own limit
// of retransmissions holds there.
func Unacked(time.Duration) func(network, address string, c syscall.RawConn) error { return nil }
