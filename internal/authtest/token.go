package authtest

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// token is a service token under construction.
type token struct {
	header, claims map[string]any
	key            atcrypto.PrivateKey
	signature      func(sig []byte) []byte
	encodeSig      func(sig []byte) string
	rawHeader      []byte
	rawClaims      []byte
}

// TokenOption changes a token before it is signed.
type TokenOption func(*token)

// Claim sets a claim to any JSON value; nil removes it.
func Claim(name string, value any) TokenOption {
	return func(t *token) { set(t.claims, name, value) }
}

// Header sets a member of the header to any JSON value; nil removes it.
func Header(name string, value any) TokenOption {
	return func(t *token) { set(t.header, name, value) }
}

// RawHeader replaces the header by bytes of the test's own.
func RawHeader(header string) TokenOption {
	return func(t *token) { t.rawHeader = []byte(header) }
}

// RawClaims replaces the payload by bytes of the test's own.
func RawClaims(payload string) TokenOption {
	return func(t *token) { t.rawClaims = []byte(payload) }
}

// SignedBy signs with another key; the header names that key's algorithm.
func SignedBy(key atcrypto.PrivateKey) TokenOption {
	return func(t *token) { t.key, t.header["alg"] = key, Alg(key) }
}

// HighS replaces the signature's S by N−S, the other valid form.
func HighS() TokenOption {
	return func(t *token) {
		n := order(t.key)
		t.signature = func(sig []byte) []byte {
			s := new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:]))
			out := append([]byte(nil), sig...)
			s.FillBytes(out[32:])
			return out
		}
	}
}

// Signature lets edit replace the 64 bytes of the signature.
func Signature(edit func(sig []byte) []byte) TokenOption {
	return func(t *token) { t.signature = edit }
}

// EncodeSignature replaces the unpadded base64url encoding of the signature.
func EncodeSignature(encode func(sig []byte) string) TokenOption {
	return func(t *token) { t.encodeSig = encode }
}

// ExpiresIn sets exp to that long after now; it may be negative.
func (i *Identity) ExpiresIn(d time.Duration) TokenOption {
	return Claim("exp", i.clock.Now().Add(d).Unix())
}

// Token mints a service token of this identity for the audience and the method,
// valid for 60 seconds, with a fresh jti. An empty lxm is left out, as atproto's
// own signer does.
func (i *Identity) Token(aud, lxm string, opts ...TokenOption) string {
	key := i.PrivateKey()
	now := i.clock.Now()
	var jti [16]byte
	_, _ = rand.Read(jti[:])
	t := &token{
		header: map[string]any{"typ": "JWT", "alg": Alg(key)},
		claims: map[string]any{
			"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(),
			"iss": string(i.DID), "aud": aud, "jti": hex.EncodeToString(jti[:]),
		},
		key:       key,
		signature: func(sig []byte) []byte { return sig },
		encodeSig: base64.RawURLEncoding.EncodeToString,
	}
	if lxm != "" {
		t.claims["lxm"] = lxm
	}
	for _, o := range opts {
		o(t)
	}
	header, payload := t.rawHeader, t.rawClaims
	if header == nil {
		header = mustJSON(t.header)
	}
	if payload == nil {
		payload = mustJSON(t.claims)
	}
	signing := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	sig, err := t.key.HashAndSign([]byte(signing))
	if err != nil {
		panic(fmt.Sprintf("authtest: sign: %v", err))
	}
	return signing + "." + t.encodeSig(t.signature(sig))
}

// Bearer is Token with the scheme in front, the value of an Authorization header.
func (i *Identity) Bearer(aud, lxm string, opts ...TokenOption) string {
	return "Bearer " + i.Token(aud, lxm, opts...)
}

// Alg is the JWT algorithm that belongs to the key.
func Alg(key atcrypto.PrivateKey) string {
	if curveOf(key) == P256 {
		return "ES256"
	}
	return "ES256K"
}

func set(m map[string]any, name string, value any) {
	if value == nil {
		delete(m, name)
		return
	}
	m[name] = value
}

// order is N, the order of the curve's base point (SEC 2, FIPS 186-4).
func order(key atcrypto.PrivateKey) *big.Int {
	text := "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
	if curveOf(key) == P256 {
		text = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"
	}
	n, ok := new(big.Int).SetString(text, 16)
	if !ok {
		panic("authtest: curve order")
	}
	return n
}
