package auth

import (
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json"
	"github.com/golang-jwt/jwt/v5"

	"mls-server/lexrt"
)

const (
	// maxToken bounds a token in bytes; a real one has some 450.
	maxToken = 4096
	// maxJTI bounds the jti claim; atproto's signers use 22 to 32 characters.
	maxJTI = 256
	// maxSeconds keeps times far inside what int64 and time.Time can hold (year 9999).
	maxSeconds = 253402300799
)

// token is a parsed token that nobody has verified yet.
type token struct {
	alg       string
	signed    []byte // header and payload as they were signed
	signature []byte
	claims    *claims
}

// claims is the payload. It implements jwt.Claims for the parser; the checks
// are this package's own, because each failure has its name.
type claims struct {
	Issuer    string  `json:"iss"`
	Audience  string  `json:"aud"`
	Method    string  `json:"lxm"`
	ID        string  `json:"jti"`
	Expires   seconds `json:"exp"`
	IssuedAt  seconds `json:"iat"`
	NotBefore seconds `json:"nbf"`
}

// seconds is a NumericDate of RFC 7519, which may have a fraction.
type seconds struct {
	set   bool
	value float64
}

// UnmarshalJSON reads a number between 0 and the end of the year 9999, or null.
func (s *seconds) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*s = seconds{}
		return nil
	}
	if err := json.Unmarshal(b, &s.value); err != nil {
		return jwt.ErrTokenMalformed
	}
	if s.value < 0 || s.value > maxSeconds {
		return jwt.ErrTokenMalformed
	}
	s.set = true
	return nil
}

// time rounds down to milliseconds.
func (s seconds) time() time.Time { return time.UnixMilli(int64(s.value * 1000)) }

func (s seconds) numeric() *jwt.NumericDate {
	if !s.set {
		return nil
	}
	return &jwt.NumericDate{Time: s.time()}
}

// UnmarshalJSON is stricter than encoding/json: names are case-sensitive and
// must not be repeated, so that no two readers of a token can disagree about it.
func (c *claims) UnmarshalJSON(b []byte) error {
	type plain claims
	if err := json.Unmarshal(b, (*plain)(c)); err != nil {
		return jwt.ErrTokenMalformed
	}
	return nil
}

// The methods of jwt.Claims.

func (c *claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.Expires.numeric(), nil }
func (c *claims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.IssuedAt.numeric(), nil }
func (c *claims) GetNotBefore() (*jwt.NumericDate, error)      { return c.NotBefore.numeric(), nil }
func (c *claims) GetIssuer() (string, error)                   { return c.Issuer, nil }
func (c *claims) GetSubject() (string, error)                  { return "", nil }
func (c *claims) GetAudience() (jwt.ClaimStrings, error)       { return jwt.ClaimStrings{c.Audience}, nil }

// namedMethod makes golang-jwt's parser know the name ES256K. It neither signs
// nor verifies: the key of the DID document does that, not the token's header.
type namedMethod string

func (m namedMethod) Alg() string                          { return string(m) }
func (namedMethod) Verify(string, []byte, any) error       { return jwt.ErrTokenUnverifiable }
func (namedMethod) Sign(string, any) (sig []byte, e error) { return nil, jwt.ErrTokenUnverifiable }

var registerAlgorithms = sync.OnceFunc(func() {
	if jwt.GetSigningMethod(algES256K) == nil {
		jwt.RegisterSigningMethod(algES256K, func() jwt.SigningMethod { return namedMethod(algES256K) })
	}
})

// parser decodes strictly: no padding, no stray bits behind the last character.
var parser = sync.OnceValue(func() *jwt.Parser {
	registerAlgorithms()
	return jwt.NewParser(jwt.WithStrictDecoding())
})

// parseHeader takes the token out of an Authorization header. Schemes have no
// case (RFC 9110 11.1).
func parseHeader(authorization string) (string, *lexrt.Error) {
	scheme, raw, ok := strings.Cut(strings.TrimSpace(authorization), " ")
	raw = strings.TrimSpace(raw)
	if !ok || raw == "" || !strings.EqualFold(scheme, "bearer") {
		return "", unauthorized(NameAuthMissing, "A service token is required: Authorization: Bearer <token>")
	}
	return raw, nil
}

// parseToken reads the token's shape and type: what can be said without knowing
// time, audience, method or key.
func parseToken(raw string) (*token, *lexrt.Error) {
	bad := func(what string) (*token, *lexrt.Error) { return nil, unauthorized(NameBadJwt, what) }
	if len(raw) > maxToken {
		return bad("The token is too long")
	}
	c := new(claims)
	t, _, err := parser().ParseUnverified(raw, c)
	if err != nil {
		return bad("The token is malformed")
	}
	if typ, present := t.Header["typ"]; present {
		name, ok := typ.(string)
		if !ok {
			return bad("The token's typ is not a string")
		}
		if refusedType(name) {
			return nil, unauthorized(NameBadJwtType, "The token is not a service token")
		}
	}
	if _, present := t.Header["crit"]; present {
		return bad("The token has critical header members") // RFC 7515 4.1.11
	}
	alg := t.Method.Alg()
	if alg != algES256 && alg != algES256K {
		return bad("The token's algorithm is neither ES256 nor ES256K")
	}
	return &token{
		alg:       alg,
		signed:    []byte(raw[:strings.LastIndexByte(raw, '.')]),
		signature: t.Signature,
		claims:    c,
	}, nil
}

// refusedType reports whether typ belongs to a token that was made for another
// purpose. The prefix application/ may be left out of a typ, which has no case
// (RFC 7515 4.1.9).
func refusedType(typ string) bool {
	typ = strings.TrimPrefix(strings.ToLower(typ), "application/")
	return typ == "at+jwt" || typ == "refresh+jwt" || typ == "dpop+jwt"
}

// parseIssuer reads the iss claim: a DID, bare or with the fragment #atproto.
func parseIssuer(iss string) (lexrt.DID, bool) {
	bare, fragment, found := strings.Cut(iss, "#")
	if found && fragment != "atproto" {
		return "", false
	}
	did, err := syntax.ParseDID(bare)
	return did, err == nil
}
