package blocks

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// budget is how long one question may wait for sources.
	budget = 5 * time.Second
	// retryAfter is how long a blocker that could not be looked up is left alone,
	// so that one dead server does not slow every question down.
	retryAfter = 30 * time.Second
	// maxFailures bounds the memory for that.
	maxFailures = 4096
)

// Config configures a Service. All fields but Clock and Observe are required.
type Config struct {
	Cache Cache
	// Source is asked for what the cache does not know.
	Source Source
	// Records are where single records are verified.
	Records *PDS
	// FailClosed makes AnyBetween refuse when the sources are down and nothing
	// usable is known; otherwise it goes by what is known.
	FailClosed bool
	// Observe, when not nil, is told how each question was answered: "fresh",
	// "fetched", "stale" or "unavailable".
	Observe func(outcome string)
	Clock   clock.Clock
}

// Service answers questions about blocks. It is safe for concurrent use.
type Service struct {
	cache      Cache
	source     Source
	records    *PDS
	failClosed bool
	observe    func(string)
	clock      clock.Clock

	mu       sync.Mutex
	failures map[mls.DID]time.Time // a blocker, and when to ask again
}

// New returns a service.
func New(cfg Config) *Service {
	if cfg.Observe == nil {
		cfg.Observe = func(string) {}
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.System
	}
	return &Service{
		cache: cfg.Cache, source: cfg.Source, records: cfg.Records, failClosed: cfg.FailClosed, observe: cfg.Observe, clock: cfg.Clock,
		failures: map[mls.DID]time.Time{},
	}
}

// Between returns the blocks among the users, in both directions of each pair.
// It returns mls.ErrBlockSourceUnavailable when a pair cannot be looked up and
// nothing usable is known about it, and errors of the cache.
func (s *Service) Between(ctx context.Context, dids []mls.DID) (Answer, error) {
	k, err := s.know(ctx, everyPair(dids, dids), func(*knowledge) bool { return false })
	if err != nil {
		return Answer{}, err
	}
	if !k.complete {
		return Answer{}, mls.ErrBlockSourceUnavailable
	}
	return k.answer(s.clock.Now()), nil
}

// AnyBetween reports whether a block stands between any of the newcomers and
// any other of the newcomers or the present users, in either direction. When
// the sources are down it goes by what is usable, and, with nothing known about
// some pair, returns mls.ErrBlockSourceUnavailable if the configuration says so.
func (s *Service) AnyBetween(ctx context.Context, newcomers, present []mls.DID) (bool, error) {
	blocked := func(k *knowledge) bool { return len(k.blocks) > 0 }
	k, err := s.know(ctx, everyPair(newcomers, append(slices.Clone(newcomers), present...)), blocked)
	switch {
	case err != nil:
		return false, err
	case blocked(k):
		return true, nil
	case !k.complete && s.failClosed:
		return false, mls.ErrBlockSourceUnavailable
	}
	return false, nil
}

// Blocking returns those of dids who block user. What cannot be looked up
// counts as no block: an addition is checked again by AnyBetween.
func (s *Service) Blocking(ctx context.Context, user mls.DID, dids []mls.DID) ([]mls.DID, error) {
	pairs := make([]store.BlockPair, 0, len(dids))
	for _, d := range mls.UniqueDIDs(dids) {
		if d != user {
			pairs = append(pairs, store.BlockPair{Blocker: d, Blocked: user})
		}
	}
	k, err := s.know(ctx, pairs, func(*knowledge) bool { return false })
	if err != nil {
		return nil, err
	}
	out := make([]mls.DID, 0, len(k.blocks))
	for _, b := range k.blocks {
		out = append(out, b.Blocker)
	}
	return mls.UniqueDIDs(out), nil
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

// knowledge is what is known about some pairs.
type knowledge struct {
	blocks map[store.BlockPair]store.Block
	// checked is when each pair was last looked up.
	checked  map[store.BlockPair]time.Time
	complete bool // nothing is unknown or too old
}

// know finds out about the pairs: out of the cache, and from the source for
// those that are not fresh, unless enough says that what is fresh will do.
func (s *Service) know(ctx context.Context, pairs []store.BlockPair, enough func(*knowledge) bool) (*knowledge, error) {
	if len(pairs) == 0 {
		return &knowledge{complete: true}, nil
	}
	dids := make([]mls.DID, 0, 16)
	for _, p := range pairs {
		dids = append(dids, p.Blocker, p.Blocked)
	}
	kept, checks, err := s.cache.ListBlocks(ctx, mls.UniqueDIDs(dids))
	if err != nil {
		return nil, err
	}
	now := s.clock.Now()
	fresh, stale := newKnowledge(pairs, kept, checks, now.Add(-FreshFor))
	if len(stale) == 0 || enough(fresh) {
		s.observe("fresh")
		return fresh, nil
	}
	if ask := s.due(stale, now); len(ask) > 0 {
		found, err := s.ask(ctx, ask)
		if err != nil {
			return nil, err
		}
		kept, checks = merge(kept, checks, found)
	}
	usable, unknown := newKnowledge(pairs, kept, checks, now.Add(-UsableFor))
	switch _, old := newKnowledge(pairs, kept, checks, now.Add(-FreshFor)); {
	case len(unknown) > 0:
		s.observe("unavailable")
	case len(old) > 0:
		s.observe("stale")
	default:
		s.observe("fetched")
	}
	return usable, nil
}

// ask looks the pairs up and keeps what was found. A source that fails is no
// error: what is missing stays unknown.
func (s *Service) ask(ctx context.Context, pairs []store.BlockPair) (store.BlocksFound, error) {
	limited, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	found, err := s.source.Lookup(limited, pairs)
	if err != nil {
		if ctx.Err() != nil {
			return store.BlocksFound{}, ctx.Err()
		}
		s.failed(missing(pairs, found.Checked))
	}
	if len(found.Checked) == 0 {
		return found, nil
	}
	return found, s.cache.SaveBlocks(ctx, found)
}

// due returns the pairs whose blocker did not fail just now.
func (s *Service) due(pairs []store.BlockPair, now time.Time) []store.BlockPair {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]store.BlockPair, 0, len(pairs))
	for _, p := range pairs {
		if until, failed := s.failures[p.Blocker]; !failed || !now.Before(until) {
			out = append(out, p)
		}
	}
	return out
}

func (s *Service) failed(pairs []store.BlockPair) {
	now := s.clock.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, until := range s.failures {
		if !now.Before(until) {
			delete(s.failures, d)
		}
	}
	for _, p := range pairs {
		if len(s.failures) < maxFailures {
			s.failures[p.Blocker] = now.Add(retryAfter)
		}
	}
}

// newKnowledge reduces what is kept to the pairs and to what was checked since
// the given time, and returns the pairs that were not.
func newKnowledge(pairs []store.BlockPair, kept []store.Block, checks []store.BlockCheck, since time.Time) (*knowledge, []store.BlockPair) {
	at := make(map[store.BlockPair]time.Time, len(checks))
	for _, c := range checks {
		if c.CheckedAt.After(at[c.BlockPair]) {
			at[c.BlockPair] = c.CheckedAt
		}
	}
	k := &knowledge{blocks: map[store.BlockPair]store.Block{}, checked: make(map[store.BlockPair]time.Time, len(pairs))}
	var old []store.BlockPair
	for _, p := range pairs {
		t := at[p]
		if whole := at[store.BlockPair{Blocker: p.Blocker}]; whole.After(t) {
			t = whole
		}
		if t.Before(since) {
			old = append(old, p)
			continue
		}
		k.checked[p] = t
	}
	for _, b := range kept {
		p := b.BlockPair
		if _, ok := k.checked[p]; ok {
			k.blocks[p] = b
		}
	}
	k.complete = len(old) == 0
	return k, old
}

// merge puts what was found over what was kept.
func merge(kept []store.Block, checks []store.BlockCheck, found store.BlocksFound) ([]store.Block, []store.BlockCheck) {
	if len(found.Checked) == 0 {
		return kept, checks
	}
	done := make(map[store.BlockPair]struct{}, len(found.Checked))
	for _, p := range found.Checked {
		done[p] = struct{}{}
	}
	covered := func(b store.Block) bool {
		_, pair := done[b.BlockPair]
		_, whole := done[store.BlockPair{Blocker: b.Blocker}]
		return pair || whole
	}
	kept = slices.DeleteFunc(slices.Clone(kept), covered)
	checks = slices.Clone(checks)
	for _, p := range found.Checked {
		checks = append(checks, store.BlockCheck{BlockPair: p, CheckedAt: found.At})
	}
	return append(kept, found.Blocks...), checks
}

// answer lists the blocks; without any pair, the look-up is as of now.
func (k *knowledge) answer(now time.Time) Answer {
	a := Answer{CheckedAt: now, Blocks: make([]store.Block, 0, len(k.blocks))}
	for _, b := range k.blocks {
		a.Blocks = append(a.Blocks, b)
	}
	slices.SortFunc(a.Blocks, func(x, y store.Block) int {
		return cmp.Or(cmp.Compare(x.Blocker, y.Blocker), cmp.Compare(x.Blocked, y.Blocked))
	})
	for _, t := range k.checked {
		if t.Before(a.CheckedAt) {
			a.CheckedAt = t
		}
	}
	return a
}
