// Package turns gives those who lost a race for an epoch turns to try again, so that many who
// commit at once do not all come back at once.
//
// A user who lost has a place in its conversation's line. The first in the line is told to try at
// once, the others to wait for a time that grows with their place. A place is held for Hold after
// the time that its user was told to come, so that one who never comes back costs the others no
// more than that. Whoever has committed gives its place up.
//
// A turn is advice and never a ground for refusal: whoever commits first wins, whatever the line
// says, and a line that is lost does no harm. So it lives in one process's memory, or in Redis for
// the servers that share one. Redis sees keyed hashes of conversations and users, for a few
// minutes; they lead to commits, whose senders members know, and never to an application message
// (I7). The package must not know HTTP, epochs or commits, and must not log.
package turns

import (
	"context"
	"sync/atomic"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
)

const (
	// Places is how many users wait in one line at most. Who finds it full is told to wait as if
	// behind it, and has no place.
	Places = 64
	// Hold is how long a place is kept after the time at which its user was told to come.
	Hold = 2 * time.Second

	// A turn takes as long as turns took lately, and half as long again, within these bounds: an
	// early racer costs everybody a submission, a late one only itself some time.
	minPace, maxPace = 100 * time.Millisecond, 2 * time.Second
)

// Turns keeps the lines. It is safe for concurrent use, and never fails: while Redis is away, each
// process keeps its own.
type Turns struct {
	own    *memory
	redis  *shared.Redis // nil without Redis
	prefer *shared.Prefer
	hasher *shared.Hasher
	// pace is how long a turn is expected to take, in nanoseconds: what all lines of this process
	// taught.
	pace atomic.Int64
}

// New returns lines in memory, and in Redis when redis is not nil. onAway is called as by
// shared.Prefer.
func New(redis *shared.Redis, hasher *shared.Hasher, onAway func(error), c clock.Clock) *Turns {
	t := &Turns{own: newMemory(c), redis: redis, prefer: shared.NewPrefer(c, onAway), hasher: hasher}
	t.pace.Store(int64(maxPace)) // nothing is known yet
	return t
}

// Lost gives a user who lost a race a place in the line, or finds the one that it has, and returns
// how long it should wait before it tries again, at most some two minutes; 0 when it is its turn.
func (t *Turns) Lost(ctx context.Context, line, user string) time.Duration {
	l, u := t.names(line, user)
	pace := time.Duration(t.pace.Load())
	ahead, err := t.ask(ctx, lostScript, l, u, pace.Microseconds(), Hold.Microseconds(), Places)
	if err != nil {
		ahead = int64(t.own.lost(l, u, pace))
	}
	return time.Duration(ahead) * pace
}

// Won gives up the place of a user who has committed, if it has one.
func (t *Turns) Won(ctx context.Context, line, user string) {
	l, u := t.names(line, user)
	micros, err := t.ask(ctx, wonScript, l, u)
	took := time.Duration(micros) * time.Microsecond
	if err != nil {
		took = t.own.won(l, u)
	}
	if took >= 0 {
		t.learn(took)
	}
}

// learn takes the length of one turn into account.
func (t *Turns) learn(took time.Duration) {
	pace := time.Duration(t.pace.Load())
	// A turn that is lost between two of these calls is no loss.
	t.pace.Store(int64(min(max((pace+took*3/2)/2, minPace), maxPace)))
}

// names are what the line and the user are called in Redis.
func (t *Turns) names(line, user string) (l, u shared.Key) {
	a, b := t.hasher.Sum(shared.PurposeTurn, line), t.hasher.Sum(shared.PurposeTurn, line, user)
	return shared.Key(a[:16]), shared.Key(b[:16])
}
