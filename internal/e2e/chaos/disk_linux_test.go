package chaos_test

import (
	"strconv"
	"syscall"
)

func mountDisk(dir string) error {
	return syscall.Mount("tmpfs", dir, "tmpfs", 0, "mode=755,size="+strconv.Itoa(diskSize))
}

// unmountDisk lets go of the disk even while a process that has just been killed is still ending.
func unmountDisk(dir string) error { return syscall.Unmount(dir, syscall.MNT_DETACH) }
