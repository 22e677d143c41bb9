package auth

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

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
	claims    claims
}

// header is the token's JOSE header (RFC 7515, section 4), and claims its
// payload. Names are case-sensitive and must not be repeated, so that no two
// readers of a token can disagree about it.
type header struct {
	Algorithm string         `json:"alg"`
	Type      jsontext.Value `json:"typ"`
	Critical  jsontext.Value `json:"crit"`
}

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
	if len(raw) > maxToken {
		return bad("The token is too long")
	}
	encoded, payload, _ := strings.Cut(raw, ".")
	payload, signature, complete := strings.Cut(payload, ".")
	if !complete {
		return bad("The token has not three parts")
	}
	var h header
	t := &token{signed: []byte(raw[:len(raw)-len(signature)-1])}
	if !decodeJSON(encoded, &h) || !decodeJSON(payload, &t.claims) {
		return bad("The token is malformed")
	}
	var ok bool
	if t.signature, ok = decodePart(signature); !ok {
		return bad("The token is malformed")
	}
	if h.Type != nil {
		if h.Type.Kind() != jsontext.KindString {
			return bad("The token's typ is not a string")
		}
		name, err := jsontext.AppendUnquote(nil, h.Type)
		if err != nil || refusedType(string(name)) {
			return nil, unauthorized(NameBadJwtType, "The token is not a service token")
		}
	}
	if h.Critical != nil {
		return bad("The token has critical header members") // RFC 7515 4.1.11
	}
	if h.Algorithm != algES256 && h.Algorithm != algES256K {
		return bad("The token's algorithm is neither ES256 nor ES256K")
	}
	t.alg = h.Algorithm
	return t, nil
}

// partEncoding is that of a token's three parts, without padding and without
// stray bits behind the last character (RFC 7515, section 2).
var partEncoding = base64.RawURLEncoding.Strict()

// decodePart decodes one of a token's parts. Line breaks, which Go's decoder
// would skip, are no part of the alphabet.
func decodePart(text string) ([]byte, bool) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, false
	}
	b, err := partEncoding.DecodeString(text)
	return b, err == nil
}

// decodeJSON decodes a part that is a JSON object.
func decodeJSON(text string, to any) bool {
	b, ok := decodePart(text)
	return ok && len(b) > 0 && b[0] == '{' && json.Unmarshal(b, to) == nil
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
