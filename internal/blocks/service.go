package blocks

import (
	"cmp"
	"context"
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
)

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
// be none of them. It returns mls.ErrBlockSourceUnavailable when a pair cannot be looked up and
// nothing usable is known about it, and errors of the cache.
func (s *Service) Between(ctx context.Context, caller mls.DID, dids []mls.DID) (Answer, error) {
	k, err := s.know(ctx, question{caller: caller, pairs: everyPair(dids, dids)})
	switch {
	case err != nil:
		return Answer{}, err
	case len(k.unknown) > 0:
		return Answer{}, mls.ErrBlockSourceUnavailable
	}
	return Answer{Blocks: k.sorted(), CheckedAt: clock.Bucket(s.Clock.Now())}, nil
}

// AnyBetween reports whether a block stands between any of the newcomers and any other of the
// newcomers or the present users, in either direction. When the sources are down it goes by what is
// usable, and, with nothing known about some pair, returns mls.ErrBlockSourceUnavailable if the
// configuration says so.
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
	case len(k.unknown) > 0 && s.FailClosed:
		return false, mls.ErrBlockSourceUnavailable
	}
	return false, nil
}

// Blocking returns those of dids who block the caller. What cannot be looked up counts as no block:
// an addition is checked again by AnyBetween.
func (s *Service) Blocking(ctx context.Context, caller mls.DID, dids []mls.DID) ([]mls.DID, error) {
	q := question{caller: caller, admits: true}
	for _, d := range mls.UniqueDIDs(dids) {
		if d != caller {
			q.pairs = append(q.pairs, store.BlockPair{Blocker: d, Blocked: caller})
		}
	}
	k, err := s.know(ctx, q)
	if err != nil {
		return nil, err
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
