// Package verifybench compares the libraries that verify the signatures of
// service tokens; make bench-verify runs it. Its figures are in docs/adr/0016.
package verifybench
