// Package pgcluster runs a private PostgreSQL from the binaries of this
// machine: for tests, for `make run` and for benchmarks.
//
// What it keeps: the server is reachable through a unix socket in a directory
// that only its owner may enter; it never runs as root; it ends with the
// process that started it, even when that process is killed; and a temporary
// cluster leaves no file behind.
//
// It must not be used in production, never touches a PostgreSQL that it did
// not start itself, and ends processes by their id only.
package pgcluster
