package blocks

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/errgroup"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
)

// Incoming says from whom a user accepts messages of strangers. The values are those of the record
// and of CONSENT_DEFAULT.
type Incoming string

// The values.
const (
	IncomingAll       Incoming = "all"
	IncomingFollowing Incoming = "following"
	IncomingNone      Incoming = "none"
)

const (
	declarationCollection = "chat.bsky.actor.declaration"
	declarationKey        = "self"
	// maxDeclarations bounds what a process remembers, of some 200 bytes each.
	maxDeclarations = 50_000
)

// DeclarationsConfig configures Declarations. All fields but AppView are required.
type DeclarationsConfig struct {
	PDS *PDS
	// AppView is asked whom users follow; without one nobody can say.
	AppView *AppView
	// Default is the word of those who have no record.
	Default Incoming
	Clock   clock.Clock
}

// Declarations knows from whom users accept messages: each says so in a public record of its own,
// chat.bsky.actor.declaration. It is asked for like block records, at the user's own server, for
// each caller by itself, and remembered as long as those. It is safe for concurrent use.
type Declarations struct {
	DeclarationsConfig

	mu      sync.Mutex
	known   *simplelru.LRU[subject, declared]
	callers *memory
}

// NewDeclarations returns an empty memory over the sources. Callers have a bound of their own on
// how many users they may have looked up.
func NewDeclarations(cfg DeclarationsConfig) *Declarations {
	d := &Declarations{DeclarationsConfig: cfg, callers: newMemory()}
	// The size is positive, which is all that can be wrong.
	d.known, _ = simplelru.NewLRU[subject, declared](maxDeclarations, nil)
	return d
}

// declared is what is known of a user's word to a caller.
type declared struct {
	willing bool
	at      time.Time
	// retry is when the sources may be asked again that failed.
	retry time.Time
}

// refusal is what users say to a caller.
type refusal struct {
	unwilling []mls.DID
	// unknown: of some nothing usable is known.
	unknown bool
}

// ask finds out which of the users do not want to hear from the caller. A source that fails is no
// error.
func (d *Declarations) ask(ctx context.Context, caller mls.DID, users []mls.DID) (refusal, error) {
	limited, cancel := context.WithTimeout(ctx, admitWait)
	defer cancel()
	answers := make([]declared, len(users))
	var g errgroup.Group
	g.SetLimit(parallelism)
	for i, user := range users {
		g.Go(func() error {
			answers[i] = d.find(limited, subject{caller: caller, user: user})
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors: one user says nothing about the next
	var r refusal
	usable := d.Clock.Now().Add(-UsableFor)
	for i, a := range answers {
		switch {
		case a.at.Before(usable):
			r.unknown = true
		case !a.willing:
			r.unwilling = append(r.unwilling, users[i])
		}
	}
	return r, ctx.Err()
}

// find is what is remembered of a user's word, or its word now.
func (d *Declarations) find(ctx context.Context, k subject) declared {
	now := d.Clock.Now()
	d.mu.Lock()
	known, _ := d.known.Get(k)
	d.mu.Unlock()
	if !known.at.Before(now.Add(-FreshFor)) || now.Before(known.retry) || !d.callers.allow(k.caller, now) {
		return known
	}
	willing, err := d.read(ctx, k)
	if err == nil {
		known = declared{willing: willing, at: now}
	} else {
		known.retry = now.Add(retryAfter)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known.Add(k, known)
	return known
}

// read asks the user's own server, and where it depends on that, the AppView whom the user follows.
func (d *Declarations) read(ctx context.Context, k subject) (willing bool, err error) {
	incoming, err := d.PDS.declaration(ctx, k.user)
	if err != nil {
		return false, err
	}
	switch incoming {
	case IncomingAll, IncomingNone, IncomingFollowing:
	default: // no record, or a word that is not known
		incoming = d.Default
	}
	switch {
	case incoming == IncomingAll:
		return true, nil
	case incoming == IncomingNone:
		return false, nil
	case d.AppView == nil:
		return false, errSource
	}
	return d.AppView.follows(ctx, k.user, k.caller)
}
