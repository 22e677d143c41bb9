//go:build race

package e2e_test

// raceEnabled makes long tests shorter under the race detector.
const raceEnabled = true
