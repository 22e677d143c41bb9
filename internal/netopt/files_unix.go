//go:build unix

package netopt

import "syscall"

// OpenFiles is how many files the process may open, 0 when the system does not say. Go raises the
// soft limit to the hard one at the start.
func OpenFiles() uint64 {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return uint64(limit.Cur) //nolint:unconvert // signed on some systems
}
