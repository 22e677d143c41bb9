package auth

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
	"mls-server/internal/xrpc"
	"mls-server/lexrt"
)

const (
	// Leeway is how far clocks of issuers may be off.
	Leeway = 30 * time.Second
	// MaxLifetime is how far ahead a token's exp may lie; a PDS signs for no longer.
	MaxLifetime = time.Hour
)

// Config configures a ServiceAuth. All fields but Began and Unknown are
// required.
type Config struct {
	// ServiceDID is this server's DID: the aud that tokens must carry, with or
	// without "#" and ServiceID.
	ServiceDID lexrt.DID
	// ServiceID is the fragment of this server's entry in its DID document.
	ServiceID string
	// EnforceLXM makes every method require a matching lxm claim, EnforceJTI an
	// unused jti. Privileged methods require both in any case.
	EnforceLXM, EnforceJTI bool
	// JTITTL is how long a used token is remembered at least.
	JTITTL time.Duration
	// Resolver finds the issuers' keys.
	Resolver *Resolver
	// Replays remembers used tokens.
	Replays ReplayStore
	// Began is when Replays began to remember: after the start of a process that
	// remembers by itself, or of a database that was restored. For an hour after it
	// a token that was issued before, or does not say when, counts as expired. nil
	// means that Replays never forgets.
	Began func() time.Time
	// Unknown is called for each token that was refused because no store could say
	// whether it was used; it may be nil.
	Unknown func()
	// Hasher makes the hashes under which used tokens are remembered. Its secret is
	// the same on all servers of a deployment, and unknown to whoever may read the
	// stores.
	Hasher *shared.Hasher
	// Tickets makes and reads tickets; nil where none are accepted.
	Tickets *Tickets
	Clock   clock.Clock
}

// ServiceAuth authenticates atproto service tokens. It is safe for concurrent use.
type ServiceAuth struct {
	audience, audienceWithID string

	enforceLXM, enforceJTI bool

	jtiTTL   time.Duration
	resolver *Resolver
	replays  ReplayStore
	began    func() time.Time
	unknown  func()
	hasher   *shared.Hasher
	tickets  *Tickets
	clock    clock.Clock
}

var (
	_ xrpc.Authenticator = (*ServiceAuth)(nil)
	_ xrpc.Tickets       = (*ServiceAuth)(nil)
)

// New returns an authenticator, or an error when the configuration cannot be safe.
func New(cfg Config) (*ServiceAuth, error) {
	switch {
	case cfg.ServiceDID == "":
		return nil, errors.New("auth: no service DID")
	case cfg.Resolver == nil || cfg.Replays == nil || cfg.Hasher == nil || cfg.Clock == nil:
		return nil, errors.New("auth: no resolver, store of used tokens, hasher or clock")
	}
	if cfg.Began == nil {
		cfg.Began = func() time.Time { return time.Time{} }
	}
	if cfg.Unknown == nil {
		cfg.Unknown = func() {}
	}
	return &ServiceAuth{
		audience:       string(cfg.ServiceDID),
		audienceWithID: string(cfg.ServiceDID) + "#" + cfg.ServiceID,
		enforceLXM:     cfg.EnforceLXM,
		enforceJTI:     cfg.EnforceJTI,
		jtiTTL:         cfg.JTITTL,
		resolver:       cfg.Resolver,
		replays:        cfg.Replays,
		began:          cfg.Began,
		unknown:        cfg.Unknown,
		hasher:         cfg.Hasher,
		tickets:        cfg.Tickets,
		clock:          cfg.Clock,
	}, nil
}

// Authenticate implements xrpc.Authenticator. The order of checks is that of
// atproto's own server: shape, type, times, audience, method, issuer, signature.
// Nothing is written anywhere: a token is used up by Spend. Every error that is
// not the context's is a *lexrt.Error whose name is one of ErrorNames, wrapped by
// xrpc.Costly when it took a fetch or a signature to find out.
func (a *ServiceAuth) Authenticate(ctx context.Context, m *lexrt.Method, authorization, address string) (xrpc.Credential, error) {
	raw, lerr := parseHeader(authorization)
	if lerr != nil {
		return xrpc.Credential{}, lerr
	}
	t, lerr := parseToken(raw)
	if lerr != nil {
		return xrpc.Credential{}, lerr
	}
	now := a.clock.Now()
	expires, lerr := checkTimes(&t.claims, now)
	if lerr != nil {
		return xrpc.Credential{}, lerr
	}
	var issued time.Time
	if t.claims.IssuedAt.set {
		issued = t.claims.IssuedAt.time()
	}
	if mayBeUsed(issued, now, a.began()) {
		return xrpc.Credential{}, unauthorized(NameJwtExpired, "The token was issued before this server can know which tokens were used; get a new one")
	}
	if t.claims.Audience != a.audience && t.claims.Audience != a.audienceWithID {
		return xrpc.Credential{}, unauthorized(NameBadJwtAudience, "The token is for another service")
	}
	once, lerr := a.checkBinding(m, &t.claims)
	if lerr != nil {
		return xrpc.Credential{}, lerr
	}
	did, ok := parseIssuer(t.claims.Issuer)
	if !ok {
		return xrpc.Credential{}, unauthorized(NameBadJwtIss, "The token's issuer is not a DID, bare or with #atproto")
	}
	if err := a.checkSignature(ctx, did, t, address); err != nil {
		return xrpc.Credential{}, err
	}
	c := xrpc.Credential{Caller: lexrt.Caller{DID: did}, Issued: issued}
	if once {
		c.Token, c.Until = a.hash(did, t.claims.ID), later(expires.Add(Leeway), now.Add(a.jtiTTL))
	}
	return c, nil
}

// Spend implements xrpc.Authenticator: it records the token, and fails when it
// was recorded before or nobody can say.
func (a *ServiceAuth) Spend(ctx context.Context, c xrpc.Credential) error {
	if c.Until.IsZero() {
		return nil
	}
	used := a.replays
	if c.Ticket {
		used = a.tickets.Used
	}
	fresh, err := used.Use(ctx, c.Token, c.Until)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		a.unknown()
		return unavailable()
	case !fresh:
		return unauthorized(NameReplayedToken, "It was used before; each request needs a new token, each subscription a new ticket")
	}
	return nil
}

func checkTimes(c *claims, now time.Time) (expires time.Time, lerr *lexrt.Error) {
	if !c.Expires.set {
		return time.Time{}, unauthorized(NameBadJwt, "The token has no exp")
	}
	expires = c.Expires.time()
	switch {
	case !expires.After(now.Add(-Leeway)):
		return time.Time{}, unauthorized(NameJwtExpired, "The token has expired")
	case expires.After(now.Add(MaxLifetime + Leeway)):
		return time.Time{}, unauthorized(NameBadJwt, "The token's exp is more than an hour ahead")
	case c.IssuedAt.set && c.IssuedAt.time().After(now.Add(Leeway)):
		return time.Time{}, unauthorized(NameBadJwt, "The token's iat lies in the future")
	case c.NotBefore.set && c.NotBefore.time().After(now.Add(Leeway)):
		return time.Time{}, unauthorized(NameBadJwt, "The token is not valid yet")
	}
	return expires, nil
}

// forgotten is for how long a token may still be valid that was used before the
// memory of used tokens began.
const forgotten = MaxLifetime + Leeway

// mayBeUsed reports whether a token could have been used before the memory of used
// tokens began, which is to the second, as iat is. issued is zero where it does not say
// when it was made.
func mayBeUsed(issued, now, began time.Time) bool {
	// One that is still to come is told by a database whose clock is wrong.
	if age := now.Sub(began); age > forgotten || age < -Leeway {
		return false
	}
	return issued.IsZero() || issued.Before(began.Truncate(time.Second))
}

// checkBinding applies the rules about lxm and jti that hold for the method,
// and says whether the token may be used only once.
func (a *ServiceAuth) checkBinding(m *lexrt.Method, c *claims) (once bool, lerr *lexrt.Error) {
	lxm, jti := a.enforceStandard()
	if m.Privileged {
		lxm, jti = enforcePrivileged()
	}
	if lxm && c.Method != m.NSID {
		if c.Method == "" {
			return false, unauthorized(NameBadJwtLexiconMethod, "The token has no lxm: it must name the called method")
		}
		return false, unauthorized(NameBadJwtLexiconMethod, "The token is for another method")
	}
	if jti && (c.ID == "" || len(c.ID) > maxJTI) {
		return false, unauthorized(NameBadJwt, "The token needs a jti of 1 to 256 bytes")
	}
	return jti, nil
}

// enforceStandard is the rule of all methods: the configuration decides.
func (a *ServiceAuth) enforceStandard() (lxm, jti bool) { return a.enforceLXM, a.enforceJTI }

// enforcePrivileged is the rule of privileged methods: both, always.
func enforcePrivileged() (lxm, jti bool) { return true, true }

// checkSignature finds the issuer's key and verifies with it. The account may have
// a new one since its document was read, so that a signature which does not fit
// is a reason to ask again.
func (a *ServiceAuth) checkSignature(ctx context.Context, did lexrt.DID, t *token, address string) error {
	if len(t.signature) != signatureSize {
		return unauthorized(NameBadJwtSignature, "The token's signature is not 64 bytes")
	}
	known, err := a.resolver.resolve(ctx, did, address)
	if err != nil {
		return a.unresolved(ctx, did, err, known.worked)
	}
	id := known.id
	fits := verify(id.Key, t)
	if !fits && known.cached {
		if id, err = a.resolver.refetch(ctx, known); err != nil {
			return xrpc.Costly(a.unresolved(ctx, did, err, true))
		}
		fits = id != known.id && verify(id.Key, t)
	}
	switch {
	case fits:
		a.resolver.confirm(id)
		return nil
	case id.Key == nil:
		return xrpc.Costly(unauthorized(NameUnresolvedDid, "The issuer's DID document has no usable signing key"))
	}
	return xrpc.Costly(unauthorized(NameBadJwtSignature, "The token's signature does not fit the issuer's key"))
}

// unresolved answers a failure of the resolver. Only a directory that says no
// makes it the caller's fault; the PLC directory is asked for all accounts alike,
// so that made-up ones are dear, while the hosts of did:web answer for themselves.
func (a *ServiceAuth) unresolved(ctx context.Context, did lexrt.DID, err error, worked bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, errSpent):
		return xrpc.Costly(directoryAway()) // which nobody will read: the address' bucket is empty
	case !definite(err):
		return directoryAway()
	}
	err = unauthorized(NameUnresolvedDid, "The issuer's DID could not be resolved")
	if worked && did.Method() == "plc" {
		return xrpc.Costly(err)
	}
	return err
}

func verify(key PublicKey, t *token) bool {
	return key != nil && key.Alg() == t.alg && key.Verify(t.signed, t.signature)
}

// hash is what a store learns of a token: a keyed hash of issuer and jti. The
// method is left out, so that no row says which account called what (I7).
func (a *ServiceAuth) hash(iss lexrt.DID, jti string) [32]byte {
	return a.hasher.Sum(shared.PurposeToken, string(iss), jti)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
