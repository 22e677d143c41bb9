package blocks

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// openWait and admitWait are how long a question may wait for sources.
	openWait  = 5 * time.Second
	admitWait = 10 * time.Second
	// maxSaved is the longest list of a user that goes into the Cache; longer ones stay in memory.
	maxSaved = 2000
	// spentFor is when a caller that has used up what it may have looked up may look up more.
	spentFor = time.Minute
)

// errLate says that a question ended before a source had its time to answer. It says nothing about
// the source: what else a question asks about, and for how long, is the caller's choice.
var errLate = errors.New("blocks: no time left to ask")

// answerTime is how long a source may take for an answer, of a question that waits for so long: one
// that takes longer is away, however slow the others are.
func answerTime(wait time.Duration) time.Duration { return wait * 4 / 5 }

// lateOr is errLate when an error came as the question was over, else the error.
func lateOr(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return errLate
	}
	return err
}

// Config configures a Service. All fields but AppView are required.
type Config struct {
	Cache Cache
	// PDS is where users' own lists are read and single records are verified.
	PDS *PDS
	// AppView is asked where that takes fewer requests, and about blocks by way of lists; nil for
	// none.
	AppView *AppView
	// FailClosed makes AnyBetween refuse when the sources are down and nothing usable is known;
	// otherwise it goes by what is known.
	FailClosed bool
	// Observe is told how each question was answered: "fresh", "fetched", "stale" or "unavailable".
	Observe func(outcome string)
	Clock   clock.Clock
}

// Service answers questions about blocks. It is safe for concurrent use.
type Service struct {
	Config
	memory *memory
}

// New returns a service.
func New(cfg Config) *Service { return &Service{Config: cfg, memory: newMemory()} }

// Between returns the blocks among the users, in both directions of each pair, for a caller who may
// be none of them. When a pair cannot be looked up and nothing usable is known about it, it returns
// mls.ErrBlockSourceUnavailable, or mls.ErrRateLimitExceeded to a caller who has had too much
// looked up. Other errors are the cache's.
func (s *Service) Between(ctx context.Context, caller mls.DID, dids []mls.DID) (Answer, error) {
	k, err := s.know(ctx, question{caller: caller, pairs: everyPair(dids, dids)})
	switch {
	case err != nil:
		return Answer{}, err
	case len(k.unknown) > 0 && k.spent:
		return Answer{}, mls.RateLimited(spentFor)
	case len(k.unknown) > 0:
		return Answer{}, mls.ErrBlockSourceUnavailable
	}
	return Answer{Blocks: k.sorted(), CheckedAt: clock.Bucket(s.Clock.Now())}, nil
}

// AnyBetween reports whether a block stands between any of the newcomers and any other of the
// newcomers or the present users, in either direction. When the sources are down it goes by what is
// usable, and, with nothing known about some pair, returns mls.ErrBlockSourceUnavailable if the
// configuration says so. That a source was not asked is another matter: the caller can bring that
// about, and is refused with mls.ErrRateLimitExceeded or mls.ErrBlockSourceUnavailable.
func (s *Service) AnyBetween(ctx context.Context, caller mls.DID, newcomers, present []mls.DID) (bool, error) {
	k, err := s.know(ctx, question{
		caller: caller, pairs: everyPair(newcomers, append(slices.Clone(newcomers), present...)), admits: true,
		enough: func(k *knowledge) bool { return len(k.blocks) > 0 },
	})
	switch {
	case err != nil:
		return false, err
	case len(k.blocks) > 0:
		return true, nil
	case len(k.open) > 0 && k.spent:
		return false, mls.RateLimited(spentFor)
	case len(k.open) > 0 && k.late, len(k.unknown) > 0 && s.FailClosed:
		return false, mls.ErrBlockSourceUnavailable
	}
	return false, nil
}

// Blocking returns those of dids who block the caller. What cannot be looked up counts as no block,
// since an addition is checked again by AnyBetween, but for a caller who has had too much looked
// up: mls.ErrRateLimitExceeded.
func (s *Service) Blocking(ctx context.Context, caller mls.DID, dids []mls.DID) ([]mls.DID, error) {
	q := question{caller: caller, admits: true}
	for _, d := range mls.UniqueDIDs(dids) {
		if d != caller {
			q.pairs = append(q.pairs, store.BlockPair{Blocker: d, Blocked: caller})
		}
	}
	k, err := s.know(ctx, q)
	switch {
	case err != nil:
		return nil, err
	case len(k.unknown) > 0 && k.spent:
		return nil, mls.RateLimited(spentFor)
	}
	out := make([]mls.DID, 0, len(k.blocks))
	for p := range k.blocks {
		out = append(out, p.Blocker)
	}
	slices.Sort(out)
	return out, nil
}

// everyPair returns both directions between each of a and each of b, once.
func everyPair(a, b []mls.DID) []store.BlockPair {
	a, b = mls.UniqueDIDs(a), mls.UniqueDIDs(b)
	seen := make(map[store.BlockPair]struct{}, 2*len(a)*len(b))
	pairs := make([]store.BlockPair, 0, 2*len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			for _, p := range [2]store.BlockPair{{Blocker: x, Blocked: y}, {Blocker: y, Blocked: x}} {
				if _, ok := seen[p]; !ok && x != y {
					seen[p] = struct{}{}
					pairs = append(pairs, p)
				}
			}
		}
	}
	return pairs
}

// question is what is to be found out, and for whom.
type question struct {
	caller mls.DID
	pairs  []store.BlockPair
	// admits says that it depends on the answer whether users are put together.
	admits bool
	// enough, when not nil, says that what is fresh will do.
	enough func(*knowledge) bool
}

// wait is how long the question may wait for sources.
func (q question) wait() time.Duration {
	if q.admits {
		return admitWait
	}
	return openWait
}

func (q question) blockers() []mls.DID {
	out := make([]mls.DID, len(q.pairs))
	for i, p := range q.pairs {
		out[i] = p.Blocker
	}
	return mls.UniqueDIDs(out)
}

func (q question) blocked() []mls.DID {
	out := make([]mls.DID, len(q.pairs))
	for i, p := range q.pairs {
		out[i] = p.Blocked
	}
	return mls.UniqueDIDs(out)
}

// knowledge is what is known about the pairs of a question since some time.
type knowledge struct {
	blocks map[store.BlockPair]store.Block
	// unknown are pairs of which nothing is known, or nothing recent enough.
	unknown []store.BlockPair
	// open are pairs that a source could say more about: those that are unknown, and those whose
	// blocker blocks by way of lists, without the AppView's opinion.
	open []store.BlockPair
	// spent: some was not looked up because the caller has had too much looked up; late: because
	// there was no time left, or nothing left of what the AppView may be asked.
	spent, late bool
}

func (k *knowledge) sorted() []store.Block {
	return slices.SortedFunc(maps.Values(k.blocks), func(x, y store.Block) int {
		return cmp.Or(cmp.Compare(x.Blocker, y.Blocker), cmp.Compare(x.Blocked, y.Blocked))
	})
}

// know finds out about the pairs of a question: out of what is kept, and from the sources for what
// is not fresh.
func (s *Service) know(ctx context.Context, q question) (*knowledge, error) {
	if len(q.pairs) == 0 {
		return &knowledge{}, nil
	}
	e, err := s.gather(ctx, q)
	if err != nil {
		return nil, err
	}
	now := s.Clock.Now()
	fresh := e.judge(q.pairs, now.Add(-FreshFor))
	if len(fresh.open) == 0 || q.enough != nil && q.enough(fresh) {
		s.Observe("fresh")
		return fresh, nil
	}
	if err := s.lookUp(ctx, q, e, fresh.open); err != nil {
		return nil, err
	}
	usable := e.judge(q.pairs, now.Add(-UsableFor))
	usable.spent, usable.late = e.spent, e.late
	switch {
	case len(usable.unknown) > 0:
		s.Observe("unavailable")
	case len(e.judge(q.pairs, now.Add(-FreshFor)).unknown) > 0:
		s.Observe("stale")
	default:
		s.Observe("fetched")
	}
	return usable, nil
}

// evidence is what is kept about the blockers of a question, each under the subject that the caller
// may see.
type evidence struct {
	subjects map[mls.DID]subject
	entries  map[mls.DID]entry
	// saved are blocks out of the Cache.
	saved map[store.BlockPair]store.Block
	// spent and late are those of knowledge.
	spent, late bool
}

// gather collects what is kept. The caller's own blocks and those of users who share a conversation
// with the caller are common knowledge; those of strangers are what the caller has asked for.
func (s *Service) gather(ctx context.Context, q question) (*evidence, error) {
	blockers := q.blockers()
	near, err := s.Cache.ListAcquaintances(ctx, q.caller, blockers)
	if err != nil {
		return nil, err
	}
	near = append(near, q.caller)
	e := &evidence{
		subjects: make(map[mls.DID]subject, len(blockers)), entries: make(map[mls.DID]entry, len(blockers)), saved: map[store.BlockPair]store.Block{},
	}
	for _, d := range blockers {
		e.subjects[d] = subject{caller: q.caller, user: d}
	}
	common := make([]mls.DID, 0, len(near))
	for _, d := range near {
		if _, ok := e.subjects[d]; ok {
			e.subjects[d] = subject{user: d}
			common = append(common, d)
		}
	}
	for d, k := range e.subjects {
		e.entries[d] = s.memory.recall(k)
		if k.caller == "" { // what the caller found out as a stranger still counts
			e.entries[d] = newer(e.entries[d], s.memory.recall(subject{caller: q.caller, user: d}))
		}
	}
	if len(common) == 0 {
		return e, nil
	}
	kept, checks, err := s.Cache.ListBlocks(ctx, common, q.blocked())
	if err != nil {
		return nil, err
	}
	for _, b := range kept {
		e.saved[b.BlockPair] = b
	}
	for _, c := range checks {
		// Where the Cache is as new, it counts: a Jetstream and claims keep it up to date.
		if known := e.entries[c.Blocker]; !c.CheckedAt.Before(clock.Bucket(known.listed)) {
			known.list, known.listed = nil, c.CheckedAt
			e.entries[c.Blocker] = known
		}
	}
	return e, nil
}

// newer puts together what two entries say of the same user.
func newer(a, b entry) entry {
	if b.listed.After(a.listed) {
		a.list, a.listed, a.byLists, a.probed = b.list, b.listed, b.byLists, b.probed
	}
	if len(b.pairs) == 0 {
		return a
	}
	pairs := maps.Clone(b.pairs)
	for d, o := range a.pairs {
		if !o.at.Before(pairs[d].at) {
			pairs[d] = o
		}
	}
	a.pairs = pairs
	return a
}

// judge says what the evidence since a time tells about pairs.
func (e *evidence) judge(pairs []store.BlockPair, since time.Time) *knowledge {
	k := &knowledge{blocks: map[store.BlockPair]store.Block{}}
	for _, p := range pairs {
		known := e.entries[p.Blocker]
		listed := !known.listed.Before(since)
		said := known.pairs[p.Blocked]
		viewed := !said.at.Before(since)
		own, found := known.list[p.Blocked]
		saved, kept := e.saved[p]
		switch {
		case found && listed:
			k.blocks[p] = own
		case kept && !saved.SeenAt.Before(since):
			k.blocks[p] = saved
		case viewed && said.block != nil:
			k.blocks[p] = *said.block
		case listed && (viewed || !known.byLists), viewed:
		case listed:
			k.open = append(k.open, p)
		default:
			k.open = append(k.open, p)
			k.unknown = append(k.unknown, p)
		}
	}
	return k
}
