package blocks

import (
	"context"
	"errors"
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
	callers *allowances
}

// NewDeclarations returns an empty memory over the sources. Callers have a bound of their own on
// how many users they may have looked up.
func NewDeclarations(cfg DeclarationsConfig) *Declarations {
	d := &Declarations{DeclarationsConfig: cfg, callers: newAllowances(lookupsPerMinute, lookupsPerMinute)}
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
	// away: the sources of some are away, and nothing usable is known of these. late: some could
	// not be asked in time, or the AppView not any more. spent: nor could some be asked because the
	// caller has had too many looked up. The last two the caller can bring about.
	away, late, spent bool
}

// finding is what was found out about a user, or why nothing was.
type finding struct {
	willing bool
	err     error
}

// ask finds out which of the users do not want to hear from the caller. admits says that they are
// put together with it if they do. That the caller goes away changes nothing: what is found out is
// remembered all the same.
func (d *Declarations) ask(ctx context.Context, caller mls.DID, users []mls.DID, admits bool) (refusal, error) {
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), admitWait)
	defer cancel()
	now := d.Clock.Now()
	var r refusal
	var due []mls.DID
	for _, user := range users {
		known := d.recall(subject{caller, user})
		switch {
		case !known.at.Before(now.Add(-FreshFor)), now.Before(known.retry):
			r.add(user, known, now)
		case d.callers.take(caller, now):
			due = append(due, user)
		default:
			r.addUnasked(user, known, now, errCallerSpent)
		}
	}
	for i, f := range d.find(limited, caller, due, admits) {
		k := subject{caller, due[i]}
		known := d.recall(k)
		switch {
		case f.err == nil:
			known = declared{willing: f.willing, at: now}
			d.remember(k, known)
			r.add(k.user, known, now)
		case errors.Is(f.err, errLate), errors.Is(f.err, errSpent), errors.Is(f.err, errCallerSpent):
			r.addUnasked(k.user, known, now, f.err)
		default:
			known.retry = now.Add(retryAfter)
			d.remember(k, known)
			r.add(k.user, known, now)
		}
	}
	return r, ctx.Err()
}

// add adds what is known of a user whose source has answered, or is away.
func (r *refusal) add(user mls.DID, known declared, now time.Time) {
	switch {
	case known.at.Before(now.Add(-UsableFor)):
		r.away = true
	case !known.willing:
		r.unwilling = append(r.unwilling, user)
	}
}

// addUnasked adds what is known of a user whose source was not asked, or had no time to answer.
func (r *refusal) addUnasked(user mls.DID, known declared, now time.Time, why error) {
	switch {
	case !known.at.Before(now.Add(-UsableFor)):
		r.add(user, known, now)
	case errors.Is(why, errCallerSpent):
		r.spent = true
	default:
		r.late = true
	}
}

func (d *Declarations) recall(k subject) declared {
	d.mu.Lock()
	defer d.mu.Unlock()
	known, _ := d.known.Get(k)
	return known
}

func (d *Declarations) remember(k subject, known declared) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known.Add(k, known)
}

// find asks the users' own servers, and where it depends on that, the AppView who of them follows
// the caller.
func (d *Declarations) find(ctx context.Context, caller mls.DID, users []mls.DID, admits bool) []finding {
	found := make([]finding, len(users))
	words := make([]Incoming, len(users))
	var g errgroup.Group
	g.SetLimit(parallelism)
	for i, user := range users {
		g.Go(func() error {
			words[i], found[i].err = d.word(ctx, user)
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors: one user says nothing about the next
	var following []mls.DID
	for i, word := range words {
		found[i].willing = word == IncomingAll
		if word == IncomingFollowing {
			following = append(following, users[i])
		}
	}
	if len(following) == 0 {
		return found
	}
	follow := d.followers(ctx, caller, following, admits)
	for i, word := range words {
		if word == IncomingFollowing {
			found[i], follow = follow[0], follow[1:]
		}
	}
	return found
}

// word is from whom a user accepts messages, by its own record or by default.
func (d *Declarations) word(ctx context.Context, user mls.DID) (Incoming, error) {
	own, cancel := context.WithTimeout(ctx, answerTime(admitWait))
	defer cancel()
	incoming, err := d.PDS.declaration(own, user)
	switch {
	case err != nil:
		return "", lateOr(ctx, err)
	case incoming == IncomingAll, incoming == IncomingNone, incoming == IncomingFollowing:
		return incoming, nil
	}
	return d.Default, nil // no record, or a word that is not known
}

func (d *Declarations) followers(ctx context.Context, caller mls.DID, users []mls.DID, admits bool) []finding {
	if d.AppView != nil {
		return d.AppView.followers(ctx, caller, users, admits)
	}
	found := make([]finding, len(users))
	for i := range found {
		found[i].err = errSource
	}
	return found
}
