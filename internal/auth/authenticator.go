package auth

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/clock"
	"mls-server/internal/shared"
	"mls-server/lexrt"
)

const (
	// Leeway is how far clocks of issuers may be off.
	Leeway = 30 * time.Second
	// MaxLifetime is how far ahead a token's exp may lie; a PDS signs for no longer.
	MaxLifetime = time.Hour
)

// Config configures a ServiceAuth. All fields are required.
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
	// Hasher makes the hashes under which used tokens are remembered. Its secret is
	// the same on all servers of a deployment, and unknown to whoever may read the
	// stores.
	Hasher *shared.Hasher
	Clock  clock.Clock
}

// ServiceAuth authenticates atproto service tokens. It is safe for concurrent use.
type ServiceAuth struct {
	audience, audienceWithID string

	enforceLXM, enforceJTI bool

	jtiTTL   time.Duration
	resolver *Resolver
	replays  ReplayStore
	hasher   *shared.Hasher
	clock    clock.Clock
}

// New returns an authenticator, or an error when the configuration cannot be safe.
func New(cfg Config) (*ServiceAuth, error) {
	switch {
	case cfg.ServiceDID == "":
		return nil, errors.New("auth: no service DID")
	case cfg.Resolver == nil || cfg.Replays == nil || cfg.Hasher == nil || cfg.Clock == nil:
		return nil, errors.New("auth: no resolver, store of used tokens, hasher or clock")
	}
	return &ServiceAuth{
		audience:       string(cfg.ServiceDID),
		audienceWithID: string(cfg.ServiceDID) + "#" + cfg.ServiceID,
		enforceLXM:     cfg.EnforceLXM,
		enforceJTI:     cfg.EnforceJTI,
		jtiTTL:         cfg.JTITTL,
		resolver:       cfg.Resolver,
		replays:        cfg.Replays,
		hasher:         cfg.Hasher,
		clock:          cfg.Clock,
	}, nil
}

// Authenticate checks the value of an Authorization header for a call of m. The
// order of checks is that of atproto's own server: shape, type, times, audience,
// method, issuer, signature; then, only for a token that is genuine, whether it
// was used. Every error that is not the context's is a *lexrt.Error whose name is
// one of ErrorNames.
func (a *ServiceAuth) Authenticate(ctx context.Context, m *lexrt.Method, authorization string) (lexrt.Caller, error) {
	raw, lerr := parseHeader(authorization)
	if lerr != nil {
		return lexrt.Caller{}, lerr
	}
	t, lerr := parseToken(raw)
	if lerr != nil {
		return lexrt.Caller{}, lerr
	}
	now := a.clock.Now()
	expires, lerr := checkTimes(&t.claims, now)
	if lerr != nil {
		return lexrt.Caller{}, lerr
	}
	if t.claims.Audience != a.audience && t.claims.Audience != a.audienceWithID {
		return lexrt.Caller{}, unauthorized(NameBadJwtAudience, "The token is for another service")
	}
	once, lerr := a.checkBinding(m, &t.claims)
	if lerr != nil {
		return lexrt.Caller{}, lerr
	}
	did, ok := parseIssuer(t.claims.Issuer)
	if !ok {
		return lexrt.Caller{}, unauthorized(NameBadJwtIss, "The token's issuer is not a DID, bare or with #atproto")
	}
	if err := a.checkSignature(ctx, did, t); err != nil {
		return lexrt.Caller{}, err
	}
	if once {
		if err := a.use(ctx, did, t.claims.ID, later(expires.Add(Leeway), now.Add(a.jtiTTL))); err != nil {
			return lexrt.Caller{}, err
		}
	}
	return lexrt.Caller{DID: did}, nil
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

func (a *ServiceAuth) checkSignature(ctx context.Context, did lexrt.DID, t *token) error {
	if len(t.signature) != signatureSize {
		return unauthorized(NameBadJwtSignature, "The token's signature is not 64 bytes")
	}
	id, cached, err := a.resolver.resolve(ctx, did)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return unauthorized(NameUnresolvedDid, "The issuer's DID could not be resolved")
	}
	if verify(id.Key, t) {
		return nil
	}
	if cached {
		// The account may have a new key since its document was read.
		if again := a.resolver.refetch(ctx, id); again != id && verify(again.Key, t) {
			return nil
		}
	}
	if id.Key == nil {
		return unauthorized(NameUnresolvedDid, "The issuer's DID document has no usable signing key")
	}
	return unauthorized(NameBadJwtSignature, "The token's signature does not fit the issuer's key")
}

func verify(key PublicKey, t *token) bool {
	return key != nil && key.Alg() == t.alg && key.Verify(t.signed, t.signature)
}

// use records the token and fails when it was recorded before.
func (a *ServiceAuth) use(ctx context.Context, iss lexrt.DID, jti string, expires time.Time) error {
	fresh, err := a.replays.Use(ctx, a.hash(iss, jti), expires)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return unavailable()
	case !fresh:
		return unauthorized(NameReplayedToken, "The token was used before; each request needs a new one")
	}
	return nil
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
