package auth

import (
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/golang-jwt/jwt/v5"

	"mls-server/lexrt"
	"mls-server/lexrt/lexbase64"
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
	claims    claims
}

// claims is what of the payload means something here. Names are case-sensitive
// and must not be repeated, so that no two readers of a token can disagree.
type claims struct {
	Issuer    string  `json:"iss"`
	Audience  string  `json:"aud"`
	Method    string  `json:"lxm"`
	ID        string  `json:"jti"`
	Expires   seconds `json:"exp"`
	IssuedAt  seconds `json:"iat"`
	NotBefore seconds `json:"nbf"`
}

// payload hands claims to golang-jwt, whose own reader takes names in any case
// and repeated ones. The registered claims that it wants stay empty: what a claim
// has to say is checked by this package, because each failure has its name.
type payload struct {
	jwt.RegisteredClaims
	claims *claims
}

// UnmarshalJSON reads the claims.
func (p *payload) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, p.claims) }

// seconds is a NumericDate of RFC 7519, which may have a fraction.
type seconds struct {
	set   bool
	value float64
}

var errSeconds = errors.New("not a number of seconds between 0 and the end of the year 9999")

// UnmarshalJSONFrom reads a number between 0 and the end of the year 9999, or null.
func (s *seconds) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	t, err := d.ReadToken()
	if err != nil {
		return err
	}
	if t.Kind() == jsontext.KindNull {
		*s = seconds{}
		return nil
	}
	if t.Kind() != jsontext.KindNumber {
		return errSeconds
	}
	if s.value, err = t.Float(); err != nil || s.value < 0 || s.value > maxSeconds {
		return errSeconds
	}
	s.set = true
	return nil
}

// time rounds down to milliseconds.
func (s seconds) time() time.Time { return time.UnixMilli(int64(s.value * 1000)) }

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
	if problem := precheck(raw); problem != "" {
		return bad(problem)
	}
	out := &token{signed: []byte(raw[:strings.LastIndexByte(raw, '.')])}
	t, _, err := parser().ParseUnverified(raw, &payload{claims: &out.claims})
	if err != nil {
		if errors.Is(err, jwt.ErrTokenUnverifiable) {
			return bad("The token's algorithm is neither ES256 nor ES256K")
		}
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
	if alg := t.Method.Alg(); alg != algES256 && alg != algES256K {
		return bad("The token's algorithm is neither ES256 nor ES256K")
	}
	out.alg, out.signature = t.Method.Alg(), t.Signature
	return out, nil
}

// precheck says what is wrong with a token that golang-jwt would read, "" when
// nothing is: it must be short, have three parts of base64url without line breaks
// (which Go's decoder skips), and consist of JSON objects in valid UTF-8 without
// repeated names, so that no two readers of it can disagree.
func precheck(raw string) string {
	if len(raw) > maxToken {
		return "The token is too long"
	}
	header, rest, _ := strings.Cut(raw, ".")
	payload, signature, complete := strings.Cut(rest, ".")
	if !complete {
		return "The token does not have three parts"
	}
	if strings.ContainsAny(raw, "\r\n") || !isObject(header) || !isObject(payload) || strings.Contains(signature, ".") {
		return "The token is malformed"
	}
	return ""
}

// isObject reports whether a part is a JSON object as RFC 7493 has it.
func isObject(part string) bool {
	b, err := lexbase64.DecodeURL(part)
	return err == nil && len(b) > 0 && b[0] == '{' && jsontext.Value(b).IsValid()
}

// parser decodes strictly: no padding, no stray bits behind the last character
// (RFC 7515, section 2). What a claim has to say is checked by this package,
// because each failure has its name.
var parser = sync.OnceValue(func() *jwt.Parser {
	if jwt.GetSigningMethod(algES256K) == nil {
		jwt.RegisterSigningMethod(algES256K, func() jwt.SigningMethod { return namedMethod(algES256K) })
	}
	return jwt.NewParser(jwt.WithStrictDecoding())
})

// namedMethod makes golang-jwt know the name ES256K. It neither signs nor
// verifies: the key of the issuer's DID document does that.
type namedMethod string

func (m namedMethod) Alg() string                    { return string(m) }
func (namedMethod) Verify(string, []byte, any) error { return jwt.ErrTokenUnverifiable }
func (namedMethod) Sign(string, any) ([]byte, error) { return nil, jwt.ErrTokenUnverifiable }

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
