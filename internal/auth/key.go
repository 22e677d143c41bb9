package auth

import (
	"bytes"
	"errors"
	"strings"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"
)

// The JWT algorithms of atproto.
const (
	algES256  = "ES256"
	algES256K = "ES256K"
)

// signatureSize is the length of an ECDSA signature in JWS form, r‖s (RFC 7518 3.4).
const signatureSize = 64

// maxKeyText bounds the text of a key before it is decoded: base58 takes
// quadratic time, and 65 bytes need 89 characters.
const maxKeyText = 128

// errBadKey says that a verification method holds no key that this server can use.
var errBadKey = errors.New("auth: unusable verification method")

// PublicKey is a parsed signing key. Implementations are immutable.
type PublicKey interface {
	// Alg is the JWT algorithm that belongs to the key, "ES256" or "ES256K".
	Alg() string
	// Verify reports whether sig, 64 bytes r‖s, is a signature over the SHA-256
	// hash of message. Both values of S that fit a signature are accepted, as
	// atproto's own server does for tokens.
	Verify(message, sig []byte) bool
	// DIDKey is the key in the form did:key, by which it can be told and kept.
	DIDKey() string
}

// verifier is the part of a PublicKey that differs between builds.
type verifier interface {
	Alg() string
	Verify(message, sig []byte) bool
}

// publicKey is a key as it was published.
type publicKey struct {
	verifier
	didKey string
}

func (k publicKey) DIDKey() string { return k.didKey }

// atprotoKey verifies with indigo: the standard library for P-256, and for
// secp256k1 the fastest Go that is known to be sound (docs/adr/0016).
type atprotoKey struct {
	alg string
	key atcrypto.PublicKey
}

func (k atprotoKey) Alg() string { return k.alg }

func (k atprotoKey) Verify(message, sig []byte) bool {
	return len(sig) == signatureSize && k.key.HashAndVerifyLenient(message, sig) == nil
}

// newKey takes a key that indigo has parsed, so that all builds accept the same keys.
func newKey(k atcrypto.PublicKey, err error) (PublicKey, error) {
	if err != nil {
		return nil, errBadKey
	}
	var v verifier
	switch k := k.(type) {
	case *atcrypto.PublicKeyP256:
		v = atprotoKey{alg: algES256, key: k}
	case *atcrypto.PublicKeyK256:
		if v, err = newK256(k); err != nil {
			return nil, err
		}
	default:
		return nil, errBadKey
	}
	return publicKey{verifier: v, didKey: k.DIDKey()}, nil
}

// verificationMethod is the part of a DID document's verification method that
// matters here.
type verificationMethod struct {
	ID                 string        `json:"id"`
	Type               string        `json:"type"`
	Controller         string        `json:"controller"`
	PublicKeyMultibase string        `json:"publicKeyMultibase"`
	PublicKeyJwk       *atcrypto.JWK `json:"publicKeyJwk"`
}

// The multicodec prefixes of compressed public keys.
var (
	codecK256 = []byte{0xe7, 0x01}
	codecP256 = []byte{0x80, 0x24}
)

// parseKey reads the key in whichever of the four forms it was published.
func parseKey(m *verificationMethod) (PublicKey, error) {
	var wantAlg string
	switch m.Type {
	case "Multikey":
		if len(m.PublicKeyMultibase) > maxKeyText {
			return nil, errBadKey
		}
		return newKey(atcrypto.ParsePublicMultibase(m.PublicKeyMultibase))
	case "JsonWebKey2020":
		return parseJWK(m.PublicKeyJwk)
	case "EcdsaSecp256k1VerificationKey2019":
		wantAlg = algES256K
	case "EcdsaSecp256r1VerificationKey2019":
		wantAlg = algES256
	default:
		return nil, errBadKey
	}

	// The 2019 suites: a JWK, or bare key bytes in base58btc without a multicodec
	// prefix, compressed or not. Some writers put the prefix all the same.
	if m.PublicKeyMultibase == "" && m.PublicKeyJwk != nil {
		k, err := parseJWK(m.PublicKeyJwk)
		if err != nil || k.Alg() != wantAlg {
			return nil, errBadKey
		}
		return k, nil
	}
	text, ok := strings.CutPrefix(m.PublicKeyMultibase, "z")
	if !ok || len(text) > maxKeyText {
		return nil, errBadKey
	}
	raw, err := base58.Decode(text)
	if err != nil {
		return nil, errBadKey
	}
	if wantAlg == algES256K {
		return parsePoint(raw, codecK256,
			func(b []byte) (atcrypto.PublicKey, error) { return atcrypto.ParsePublicBytesK256(b) },
			func(b []byte) (atcrypto.PublicKey, error) { return atcrypto.ParsePublicUncompressedBytesK256(b) })
	}
	return parsePoint(raw, codecP256,
		func(b []byte) (atcrypto.PublicKey, error) { return atcrypto.ParsePublicBytesP256(b) },
		func(b []byte) (atcrypto.PublicKey, error) { return atcrypto.ParsePublicUncompressedBytesP256(b) })
}

type pointParser func([]byte) (atcrypto.PublicKey, error)

func parsePoint(raw, codec []byte, compressed, uncompressed pointParser) (PublicKey, error) {
	switch len(raw) {
	case 33:
		return newKey(compressed(raw))
	case 35:
		if rest, ok := bytes.CutPrefix(raw, codec); ok {
			return newKey(compressed(rest))
		}
	case 65:
		return newKey(uncompressed(raw))
	}
	return nil, errBadKey
}

func parseJWK(jwk *atcrypto.JWK) (PublicKey, error) {
	// A coordinate has 32 bytes, 43 characters of base64url.
	if jwk == nil || len(jwk.X) > 43 || len(jwk.Y) > 43 {
		return nil, errBadKey
	}
	return newKey(atcrypto.ParsePublicJWK(*jwk))
}
