//go:build race

package mls

// raceEnabled makes long tests shorter under the race detector.
const raceEnabled = true
