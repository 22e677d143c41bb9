package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/sync/singleflight"

	"mls-server/internal/clock"
	"mls-server/internal/egress"
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
)

// How long what was learned about a DID is used.
const (
	// PositiveTTL is the life of a cached document.
	PositiveTTL = 5 * time.Minute
	// NegativeTTL is how long a definite failure is remembered: no such DID, or
	// a document that is none.
	NegativeTTL = time.Minute
	// UnreachableTTL is how long a failure to get an answer is remembered. It is
	// short, so that a hiccup of a directory does not lock users out for a minute.
	UnreachableTTL = 5 * time.Second
	// RefetchInterval is the least time between two refetches of one cached
	// document that were asked for by signatures that did not fit.
	RefetchInterval = 30 * time.Second
)

const (
	defaultCacheSize = 32768
	// did:web hosts can be as slow as their owner likes, so they must not be able
	// to use up the fetches that the PLC directory needs.
	maxPLCFetches = 64
	maxWebFetches = 32
	fetchWait     = 2 * time.Second
)

// ResolverConfig configures a Resolver.
type ResolverConfig struct {
	// Client fetches documents. Required.
	Client *egress.Client
	// PLCURL is the origin of the PLC directory, for example "https://plc.directory".
	PLCURL string
	// CacheSize bounds the documents in memory, 0 means 32768; as many failures
	// are remembered apart from them, so that made-up DIDs cannot push real ones out.
	CacheSize int
	// Clock is required.
	Clock clock.Clock
}

// Resolver finds DID documents and keeps what they say for a while. It is safe
// for concurrent use.
type Resolver struct {
	client  *egress.Client
	plcURL  string
	clock   clock.Clock
	flights singleflight.Group
	plcSem  chan struct{}
	webSem  chan struct{}

	mu       sync.Mutex
	found    *simplelru.LRU[lexrt.DID, *found]
	failures *simplelru.LRU[lexrt.DID, failure]
}

type found struct {
	id        *Identity
	expires   time.Time
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
	return &Resolver{
		client:   cfg.Client,
		plcURL:   strings.TrimRight(cfg.PLCURL, "/"),
		clock:    cfg.Clock,
		plcSem:   make(chan struct{}, maxPLCFetches),
		webSem:   make(chan struct{}, maxWebFetches),
		found:    newLRU[*found](cfg.CacheSize),
		failures: newLRU[failure](cfg.CacheSize),
	}
}

// newLRU returns a cache of DIDs. It is not safe for concurrent use.
func newLRU[V any](size int) *simplelru.LRU[lexrt.DID, V] {
	l, _ := simplelru.NewLRU[lexrt.DID, V](size, nil) // fails on a size below one, which NewResolver replaces
	return l
}

// Resolve returns the identity of did, from the cache when it is fresh. The
// error is one of the package's Err variables, or the context's.
func (r *Resolver) Resolve(ctx context.Context, did lexrt.DID) (*Identity, error) {
	id, _, err := r.resolve(ctx, did)
	return id, err
}

// PDSEndpoint returns the origin of the account's personal data server, or
// ErrBadDocument when its document names none.
func (r *Resolver) PDSEndpoint(ctx context.Context, did lexrt.DID) (string, error) {
	id, _, err := r.resolve(ctx, did)
	if err != nil {
		return "", err
	}
	if id.PDS == "" {
		return "", ErrBadDocument
	}
	return id.PDS, nil
}

// resolve also tells whether the answer comes from the cache.
func (r *Resolver) resolve(ctx context.Context, did lexrt.DID) (id *Identity, cached bool, err error) {
	if id, err, ok := r.lookup(did); ok {
		return id, true, err
	}
	id, err = r.fly(ctx, string(did), did, func() (*Identity, error, bool) { return r.lookup(did) })
	return id, false, err
}

// refetch asks for the document again, because a signature did not fit the key
// of stale. It returns stale when a refetch is not due or brings nothing.
func (r *Resolver) refetch(ctx context.Context, stale *Identity) *Identity {
	now := r.clock.Now()
	r.mu.Lock()
	f, ok := r.found.Get(stale.DID)
	switch {
	case !ok:
		r.mu.Unlock()
		return stale
	case f.id != stale:
		r.mu.Unlock()
		return f.id // somebody else has been here in the meantime
	case now.Sub(f.refetched) < RefetchInterval:
		r.mu.Unlock()
		return stale
	}
	f.refetched = now
	r.mu.Unlock()

	id, err := r.fly(ctx, "again "+string(stale.DID), stale.DID, nil)
	if err != nil {
		return stale
	}
	return id
}

// lookup returns what is cached about did: an identity, or the error that its
// resolution ended with.
func (r *Resolver) lookup(did lexrt.DID) (*Identity, error, bool) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if f, ok := r.found.Get(did); ok && now.Before(f.expires) {
		return f.id, nil, true
	}
	if f, ok := r.failures.Get(did); ok && now.Before(f.expires) {
		return nil, f.err, true
	}
	return nil, nil, false
}

// fly fetches did's document once for all callers that want it at the time. The
// fetch goes on when this caller gives up, for the others and for the cache.
func (r *Resolver) fly(ctx context.Context, key string, did lexrt.DID, lookup func() (*Identity, error, bool)) (*Identity, error) {
	detached := context.WithoutCancel(ctx)
	ch := r.flights.DoChan(key, func() (any, error) {
		if lookup != nil {
			// A flight may have landed between our look and this one.
			if id, err, ok := lookup(); ok {
				return id, err
			}
		}
		id, err := r.fetch(detached, did)
		r.remember(did, id, err)
		return id, err
	})
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

func (r *Resolver) remember(did lexrt.DID, id *Identity, err error) {
	now := r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		f := &found{id: id, expires: now.Add(PositiveTTL)}
		if old, ok := r.found.Get(did); ok {
			f.refetched = old.refetched
		}
		r.found.Add(did, f)
		r.failures.Remove(did)
		return
	}
	ttl := NegativeTTL
	if errors.Is(err, ErrDIDUnreachable) {
		ttl = UnreachableTTL
	} else {
		r.found.Remove(did) // the DID is gone for certain
	}
	r.failures.Add(did, failure{err: err, expires: now.Add(ttl)})
}

// fetch gets and reads the document.
func (r *Resolver) fetch(ctx context.Context, did lexrt.DID) (*Identity, error) {
	req, sem, err := r.request(did)
	if err != nil {
		return nil, err
	}
	wait := time.NewTimer(fetchWait)
	defer wait.Stop()
	select {
	case sem <- struct{}{}:
		defer func() { <-sem }()
	case <-wait.C:
		return nil, ErrDIDUnreachable
	}

	resp, err := r.client.Get(ctx, req)
	switch {
	case errors.Is(err, egress.ErrUnknownHost):
		return nil, ErrDIDNotFound
	case errors.Is(err, egress.ErrForbidden), errors.Is(err, egress.ErrRedirect), errors.Is(err, egress.ErrTooLarge):
		return nil, ErrBadDocument
	case err != nil:
		return nil, ErrDIDUnreachable
	}
	switch {
	case resp.Status == http.StatusOK:
		return parseDocument(did, resp.Body)
	case resp.Status == http.StatusNotFound, resp.Status == http.StatusGone:
		return nil, ErrDIDNotFound
	case resp.Status >= 500, resp.Status == http.StatusTooManyRequests, resp.Status == http.StatusRequestTimeout:
		return nil, ErrDIDUnreachable
	}
	return nil, ErrBadDocument
}

func (r *Resolver) request(did lexrt.DID) (egress.Request, chan struct{}, error) {
	const accept = "application/did+ld+json, application/json"
	if plcPattern.MatchString(string(did)) {
		return egress.Request{URL: r.plcURL + "/" + string(did), Purpose: egress.PurposePLC, Accept: accept}, r.plcSem, nil
	}
	m := webPattern.FindStringSubmatch(string(did))
	if m == nil || len(did) > 2048 {
		return egress.Request{}, nil, ErrUnsupportedDID
	}
	scheme, host := "https", m[1]
	if port := m[2]; port != "" {
		host = net.JoinHostPort(m[1], port)
		// Ports are for development (atproto DID specification); there, and only
		// for hosts that the operator listed, plain http is what listens.
		if r.client.Allowed(host) && port != "443" {
			scheme = "http"
		}
	}
	return egress.Request{
		URL: scheme + "://" + host + "/.well-known/did.json", Purpose: egress.PurposeDIDWeb, Accept: accept, NoRedirect: true,
	}, r.webSem, nil
}
