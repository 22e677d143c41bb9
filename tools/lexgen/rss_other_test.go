//go:build !unix

package main

import (
	"os/exec"
	"time"
)

var started = time.Now()

// cpuTime is the time that has passed, where the system does not tell what was used.
func cpuTime() time.Duration { return time.Since(started) }

// maxRSS is not known on this system.
func maxRSS(*exec.Cmd) int64 { return 0 }
