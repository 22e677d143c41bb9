package main

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// inForeground says whether a terminal delivers its Ctrl-C to the process
// group of this process.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer func() { _ = tty.Close() }() // nothing was written
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == syscall.Getpgrp()
}
