// Package repo has no code. Its tests hold what scripts and pages promise about the
// repository as a whole: that generated code is never skipped wrongly, that each invariant and
// each kind of fault has its test, that pages can be read.
//
// It must not be imported, and its tests start no server.
package repo
