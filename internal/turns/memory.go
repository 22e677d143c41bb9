package turns

import (
	"slices"
	"sync"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

// maxLines bounds the lines of a process. Who loses a race when there is no room for another line
// is told to try at once.
const maxLines = 10_000

// memory is the lines of one process.
type memory struct {
	clock clock.Clock
	mu    sync.Mutex
	lines map[shared.Key][]place
}

// place is a user's place in a line.
type place struct {
	user shared.Key
	// until is when the place is given up, called when its turn began, zero before.
	until, called time.Time
}

func newMemory(c clock.Clock) *memory { return &memory{clock: c, lines: map[shared.Key][]place{}} }

// lost returns how many places are before the user's.
func (m *memory) lost(line, user shared.Key, pace time.Duration) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	places := held(m.lines[line], now)
	if len(places) == 0 && len(m.lines) >= maxLines && !m.makeRoom(now) {
		return 0
	}
	ahead := slices.IndexFunc(places, func(p place) bool { return p.user == user })
	if ahead < 0 {
		if ahead = len(places); ahead == Places {
			m.lines[line] = places
			return ahead
		}
		places = append(places, place{user: user})
	}
	p := &places[ahead]
	p.until = now.Add(time.Duration(ahead)*pace + Hold)
	if ahead == 0 && p.called.IsZero() {
		p.called = now
	}
	m.lines[line] = places
	return ahead
}

// won gives a place up and returns how long its turn took, less than 0 when it was not its turn.
func (m *memory) won(line, user shared.Key) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.clock.Now()
	took := time.Duration(-1)
	places := slices.DeleteFunc(held(m.lines[line], now), func(p place) bool {
		if p.user == user && !p.called.IsZero() {
			took = now.Sub(p.called)
		}
		return p.user == user
	})
	if m.lines[line] = places; len(places) == 0 {
		delete(m.lines, line)
	}
	return took
}

// held drops the places that were given up.
func held(places []place, now time.Time) []place {
	return slices.DeleteFunc(places, func(p place) bool { return !p.until.After(now) })
}

// makeRoom drops the lines in which nobody waits any more, and reports whether there was one.
func (m *memory) makeRoom(now time.Time) bool {
	for k, places := range m.lines {
		if places = held(places, now); len(places) == 0 {
			delete(m.lines, k)
		} else {
			m.lines[k] = places
		}
	}
	return len(m.lines) < maxLines
}
