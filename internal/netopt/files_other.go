//go:build !unix

package netopt

// OpenFiles is how many files the process may open, 0 when the system does not say.
func OpenFiles() uint64 { return 0 }
