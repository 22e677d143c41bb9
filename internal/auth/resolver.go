package auth

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"mls-server/internal/clock"
	"mls-server/internal/egress"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// Why a DID could not be resolved.
var (
	// ErrDIDNotFound says that the DID's host answered and knows no such DID.
	ErrDIDNotFound = errors.New("auth: DID not found")
	// ErrBadDocument says that the answer is not a DID document of that DID.
	ErrBadDocument = errors.New("auth: not a DID document of this DID")
	// ErrUnsupportedDID says that the DID is neither a did:plc nor a host-level
	// did:web, or is not in its canonical spelling.
	ErrUnsupportedDID = errors.New("auth: unsupported DID")
	// ErrDIDUnreachable says that no answer could be had.
	ErrDIDUnreachable = errors.New("auth: DID document unreachable")
	// errSpent says that the address has no failures left to spend on a fetch.
	errSpent = errors.New("auth: the address has failed too often")
	// ErrBusy says that too many documents are being fetched: for the same address,
	// for the same domain, or altogether.
	ErrBusy = errors.New("auth: too many DID documents are being fetched")
)

// How long what was learned about a DID is used.
const (
	// PositiveTTL is for how long a document is used without asking again.
	PositiveTTL = 5 * time.Minute
	// NegativeTTL is how long a definite failure is remembered: no such DID, or
	// an answer that is not a document of it.
	NegativeTTL = time.Minute
	// UnreachableTTL is how long a failure to get an answer is remembered. It is
	// short, so that a hiccup of a directory does not lock users out for a minute.
	UnreachableTTL = 5 * time.Second
	// RefetchInterval is the least time between two refetches of one cached
	// document that were asked for by signatures that did not fit.
	RefetchInterval = 30 * time.Second
)

const defaultCacheSize = 32768

// ResolverConfig configures a Resolver. Client, PLCURL and Clock are required.
type ResolverConfig struct {
	// Client fetches documents.
	Client *egress.Client
	// PLCURL is the origin of the PLC directory, for example "https://plc.directory".
	PLCURL string
	// CacheSize bounds the documents in memory, 0 means 32768; as many failures
	// are remembered apart from them, so that made-up DIDs cannot push real ones out.
	CacheSize int
	// StaleFor is for how long a document is used when its directory does not
	// answer; not at all beyond PositiveTTL when it is shorter than that.
	StaleFor time.Duration
	// Documents keeps documents for the next start of the server, nil for nowhere.
	Documents *store.Store
	// Local returns the document of a DID that nobody needs to be asked for, nil for one of all
	// others; nil when there is none.
	Local func(did lexrt.DID) []byte
	// Open reports whether the bucket of an address has anything left, nil for
	// always: it is looked at again when a fetch for that address has waited.
	Open  func(address string) bool
	Clock clock.Clock
}

// Resolver finds DID documents and keeps what they say for a while. It is safe
// for concurrent use.
type Resolver struct {
	fetcher   *fetcher
	addresses *slots
	keeper    *keeper
	staleFor  time.Duration
	open      func(address string) bool
	clock     clock.Clock
	flights   singleflight.Group

	mu       sync.Mutex
	found    *simplelru.LRU[lexrt.DID, *found]
	failures *simplelru.LRU[lexrt.DID, failure]
}

type found struct {
	id        *Identity
	fetched   time.Time
	refetched time.Time // when a bad signature last caused a refetch
}

type failure struct {
	err     error
	expires time.Time
}

// NewResolver returns a resolver with empty caches.
func NewResolver(cfg ResolverConfig) *Resolver {
	if cfg.CacheSize <= 0 {
		cfg.CacheSize = defaultCacheSize
	}
	if cfg.Open == nil {
		cfg.Open = func(string) bool { return true }
	}
	return &Resolver{
		fetcher: newFetcher(cfg), addresses: newSlots(addressFetches), keeper: newKeeper(cfg.Documents, cfg.Clock),
		staleFor: max(cfg.StaleFor, PositiveTTL), open: cfg.Open, clock: cfg.Clock,
		found: newLRU[*found](cfg.CacheSize), failures: newLRU[failure](cfg.CacheSize),
	}
}

// newLRU returns a cache of DIDs. It is not safe for concurrent use.
func newLRU[V any](size int) *simplelru.LRU[lexrt.DID, V] {
	// fails on a size below one, which NewResolver replaces
	l, _ := simplelru.NewLRU[lexrt.DID, V](size, nil)
	return l
}

// Resolve returns the identity of did, from the cache when it is fresh. The
// error is one of the package's Err variables, or the context's.
func (r *Resolver) Resolve(ctx context.Context, did lexrt.DID) (*Identity, error) {
	a, err := r.resolve(ctx, did, "")
	return a.id, err
}

// PDSEndpoint returns the origin of the account's personal data server, or
// ErrBadDocument when its document names none.
func (r *Resolver) PDSEndpoint(ctx context.Context, did lexrt.DID) (string, error) {
	id, err := r.Resolve(ctx, did)
	if err != nil {
		return "", err
	}
	if id.PDS == "" {
		return "", ErrBadDocument
	}
	return id.PDS, nil
}

// answer is what is known about a DID.
type answer struct {
	id *Identity
	// cached says that nobody was asked for it just now, stale that it is older
	// than PositiveTTL, worked that a fetch was waited for.
	cached, stale, worked bool
}

// resolve finds the identity of did for a request from address, "" for one of the
// server's own.
func (r *Resolver) resolve(ctx context.Context, did lexrt.DID, address string) (answer, error) {
	known, settled, err := r.lookup(did)
	if settled {
		return known, err
	}
	if r.fetcher.away(did) {
		return r.fallBack(ctx, did, known, ErrDIDUnreachable)
	}
	if address != "" {
		release, err := r.addresses.acquire(ctx, address, fetchWait)
		if err != nil {
			return r.fallBack(ctx, did, known, err)
		}
		defer release()
		if !r.open(address) {
			return answer{}, errSpent
		}
	}
	id, err := r.fly(ctx, string(did), func(ctx context.Context) (*Identity, error) {
		if a, settled, err := r.lookup(did); settled {
			return a.id, err // a flight has landed between our look and this one
		}
		return r.fetch(ctx, did, false)
	})
	if err != nil {
		a, err := r.fallBack(ctx, did, known, err)
		a.worked = true
		return a, err
	}
	return answer{id: id, worked: true}, nil
}

// refetch asks for the document again, because a signature did not fit the key
// of known. It returns the same identity when a refetch is not due or brings
// nothing, and an error when the directory was asked in vain or known is stale
// and the directory was asked a moment ago.
func (r *Resolver) refetch(ctx context.Context, known answer) (*Identity, error) {
	now := r.clock.Now()
	did := known.id.DID
	r.mu.Lock()
	f, ok := r.found.Get(did)
	switch {
	case !ok:
		r.mu.Unlock()
		return known.id, nil
	case f.id != known.id:
		r.mu.Unlock()
		return f.id, nil // somebody else has been here in the meantime
	case now.Sub(f.refetched) < RefetchInterval:
		r.mu.Unlock()
		if known.stale {
			return known.id, ErrDIDUnreachable
		}
		return known.id, nil
	}
	f.refetched = now
	r.mu.Unlock()

	id, err := r.fly(ctx, "again "+string(did), func(ctx context.Context) (*Identity, error) { return r.fetch(ctx, did, true) })
	if err != nil {
		return known.id, err
	}
	return id, nil
}

// lookup returns what is cached about did. It is settled when nobody needs to be
// asked: by a fresh identity, or by a failure that is remembered, beside which a
// stale identity counts when the directory did not answer.
func (r *Resolver) lookup(did lexrt.DID) (a answer, settled bool, err error) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.found.Get(did); ok && now.Sub(f.fetched) < r.staleFor {
		a = answer{id: f.id, cached: true, stale: now.Sub(f.fetched) >= PositiveTTL}
		if !a.stale {
			return a, true, nil
		}
	}
	if f, ok := r.failures.Get(did); ok && now.Before(f.expires) {
		if a.id != nil && !definite(f.err) {
			return a, true, nil
		}
		return answer{}, true, f.err
	}
	return a, false, nil
}

// fallBack is what is left when the directory could not be asked, or did not
// answer with err: a document that is still usable, here or kept from before the
// last start.
func (r *Resolver) fallBack(ctx context.Context, did lexrt.DID, known answer, err error) (answer, error) {
	if definite(err) || ctx.Err() != nil {
		return answer{}, err
	}
	if known.id != nil {
		return known, nil
	}
	id, loadErr := r.fly(ctx, "kept "+string(did), func(ctx context.Context) (*Identity, error) {
		id, fetched := r.keeper.load(ctx, did)
		if id == nil || r.clock.Now().Sub(fetched) >= r.staleFor {
			return nil, err
		}
		r.put(id, fetched)
		return id, nil
	})
	if loadErr != nil {
		return answer{}, loadErr
	}
	return answer{id: id, cached: true, stale: true}, nil
}

// definite reports whether an error says no, and not only that nobody answered.
func definite(err error) bool {
	return errors.Is(err, ErrDIDNotFound) || errors.Is(err, ErrBadDocument) || errors.Is(err, ErrUnsupportedDID)
}

// fly runs find once for all callers that want it at the time. It goes on when
// this caller gives up, for the others and for the cache.
func (r *Resolver) fly(ctx context.Context, key string, find func(context.Context) (*Identity, error)) (*Identity, error) {
	detached := context.WithoutCancel(ctx)
	ch := r.flights.DoChan(key, func() (any, error) { return find(detached) })
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		id, ok := res.Val.(*Identity)
		if !ok {
			return nil, ErrBadDocument
		}
		return id, nil
	}
}

// fetch asks the directory and remembers what it said.
func (r *Resolver) fetch(ctx context.Context, did lexrt.DID, again bool) (*Identity, error) {
	id, err := r.fetcher.fetch(ctx, did, again)
	now := r.clock.Now()
	if err == nil {
		r.put(id, now)
		return id, nil
	}
	if definite(err) {
		r.keeper.drop(did)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case definite(err):
		r.found.Remove(did) // the DID is gone for certain
		r.failures.Add(did, failure{err: err, expires: now.Add(NegativeTTL)})
	case errors.Is(err, ErrDIDUnreachable):
		r.failures.Add(did, failure{err: err, expires: now.Add(UnreachableTTL)})
	}
	return nil, err
}

func (r *Resolver) put(id *Identity, fetched time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &found{id: id, fetched: fetched}
	if old, ok := r.found.Get(id.DID); ok {
		f.refetched = old.refetched
	}
	r.found.Add(id.DID, f)
	r.failures.Remove(id.DID)
}

// confirm is told of each identity whose key verified a token. Only those are
// kept for the next start: a table of documents that anybody could name would be
// a table that anybody could fill.
func (r *Resolver) confirm(id *Identity) {
	r.mu.Lock()
	f, ok := r.found.Peek(id.DID)
	r.mu.Unlock()
	if ok && f.id == id {
		r.keeper.keep(id, f.fetched)
	}
}
