//go:build !linux

package app

import "syscall"

// boundUnacked does nothing where the option does not exist: the system's own
// limit of retransmissions holds there.
func boundUnacked(_, _ string, _ syscall.RawConn) error { return nil }
