package blocks

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
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

// Outcomes lists what Config.Observe may be told.
func Outcomes() []string { return []string{"fresh", "fetched", "stale", "unavailable"} }

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
	pairs := make([]Pair, 0, len(dids))
	for _, d := range unique(dids) {
		if d != user {
			pairs = append(pairs, Pair{Blocker: d, Blocked: user})
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
	return unique(out), nil
}

func unique(dids []mls.DID) []mls.DID {
	seen := make(map[mls.DID]struct{}, len(dids))
	out := make([]mls.DID, 0, len(dids))
	for _, d := range dids {
		if _, ok := seen[d]; !ok {
			seen[d] = struct{}{}
			out = append(out, d)
		}
	}
	return out
}

// everyPair returns both directions between each of a and each of b, once.
func everyPair(a, b []mls.DID) []Pair {
	a, b = unique(a), unique(b)
	seen := make(map[Pair]struct{}, 2*len(a)*len(b))
	pairs := make([]Pair, 0, 2*len(a)*len(b))
	for _, x := range a {
		for _, y := range b {
			for _, p := range [2]Pair{{x, y}, {y, x}} {
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
	blocks map[Pair]Block
	// checked is when each pair was last looked up.
	checked  map[Pair]time.Time
	complete bool // nothing is unknown or too old
}

// know finds out about the pairs: out of the cache, and from the source for
// those that are not fresh, unless enough says that what is fresh will do.
func (s *Service) know(ctx context.Context, pairs []Pair, enough func(*knowledge) bool) (*knowledge, error) {
	if len(pairs) == 0 {
		return &knowledge{complete: true}, nil
	}
	dids := make([]mls.DID, 0, 16)
	for _, p := range pairs {
		dids = append(dids, p.Blocker, p.Blocked)
	}
	kept, checks, err := s.cache.LoadBlocks(ctx, unique(dids))
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
func (s *Service) ask(ctx context.Context, pairs []Pair) (Found, error) {
	limited, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	found, err := s.source.Lookup(limited, pairs)
	if err != nil {
		if ctx.Err() != nil {
			return Found{}, ctx.Err()
		}
		s.failed(missing(pairs, found.Checked))
	}
	if len(found.Checked) == 0 {
		return found, nil
	}
	return found, s.cache.SaveBlocks(ctx, found)
}

// due returns the pairs whose blocker did not fail just now.
func (s *Service) due(pairs []Pair, now time.Time) []Pair {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Pair, 0, len(pairs))
	for _, p := range pairs {
		if until, failed := s.failures[p.Blocker]; !failed || !now.Before(until) {
			out = append(out, p)
		}
	}
	return out
}

func (s *Service) failed(pairs []Pair) {
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
func newKnowledge(pairs []Pair, kept []Block, checks []Check, since time.Time) (*knowledge, []Pair) {
	at := make(map[Pair]time.Time, len(checks))
	for _, c := range checks {
		if c.At.After(at[c.Pair]) {
			at[c.Pair] = c.At
		}
	}
	k := &knowledge{blocks: map[Pair]Block{}, checked: make(map[Pair]time.Time, len(pairs))}
	var old []Pair
	for _, p := range pairs {
		t := at[p]
		if whole := at[Pair{Blocker: p.Blocker}]; whole.After(t) {
			t = whole
		}
		if t.Before(since) {
			old = append(old, p)
			continue
		}
		k.checked[p] = t
	}
	for _, b := range kept {
		p := Pair{b.Blocker, b.Blocked}
		if _, ok := k.checked[p]; ok {
			k.blocks[p] = b
		}
	}
	k.complete = len(old) == 0
	return k, old
}

// merge puts what was found over what was kept.
func merge(kept []Block, checks []Check, found Found) ([]Block, []Check) {
	if len(found.Checked) == 0 {
		return kept, checks
	}
	done := make(map[Pair]struct{}, len(found.Checked))
	for _, p := range found.Checked {
		done[p] = struct{}{}
	}
	covered := func(b Block) bool {
		_, pair := done[Pair{b.Blocker, b.Blocked}]
		_, whole := done[Pair{Blocker: b.Blocker}]
		return pair || whole
	}
	kept = slices.DeleteFunc(slices.Clone(kept), covered)
	checks = slices.Clone(checks)
	for _, p := range found.Checked {
		checks = append(checks, Check{Pair: p, At: found.At})
	}
	return append(kept, found.Blocks...), checks
}

// answer lists the blocks; without any pair, the look-up is as of now.
func (k *knowledge) answer(now time.Time) Answer {
	a := Answer{CheckedAt: now, Blocks: make([]Block, 0, len(k.blocks))}
	for _, b := range k.blocks {
		a.Blocks = append(a.Blocks, b)
	}
	slices.SortFunc(a.Blocks, func(x, y Block) int {
		return cmp.Or(cmp.Compare(x.Blocker, y.Blocker), cmp.Compare(x.Blocked, y.Blocked))
	})
	for _, t := range k.checked {
		if t.Before(a.CheckedAt) {
			a.CheckedAt = t
		}
	}
	return a
}
