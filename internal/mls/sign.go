package mls

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"hash"

	"github.com/cloudflare/circl/sign/ed448"
)

// suiteSpec is what a suite means to someone who only hashes and verifies.
type suiteSpec struct {
	name string
	hash func() hash.Hash
	// curve is nil for EdDSA.
	curve elliptic.Curve
	// Sizes of an HPKE key and of a signature key, in bytes, points uncompressed.
	kemKey, sigKey int
	// checkKEM judges an HPKE key of the right size, checkSig an EdDSA key.
	checkKEM, checkSig func(key []byte) Code
}

// specs has the suites that can be verified.
var specs = map[CipherSuite]suiteSpec{
	SuiteX25519AES128: {"MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519", sha256.New, nil, 32, ed25519.PublicKeySize, checkX25519, checkEdwards25519},
	SuiteP256AES128:   {"MLS_128_DHKEMP256_AES128GCM_SHA256_P256", sha256.New, elliptic.P256(), 65, 65, checkPoint(ecdh.P256()), nil},
	SuiteX25519ChaCha: {"MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519", sha256.New, nil, 32, ed25519.PublicKeySize, checkX25519, checkEdwards25519},
	SuiteX448AES256:   {"MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448", sha512.New, nil, 56, ed448.PublicKeySize, checkX448, checkEdwards448},
	SuiteP521AES256:   {"MLS_256_DHKEMP521_AES256GCM_SHA512_P521", sha512.New, elliptic.P521(), 133, 133, checkPoint(ecdh.P521()), nil},
	SuiteX448ChaCha:   {"MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448", sha512.New, nil, 56, ed448.PublicKeySize, checkX448, checkEdwards448},
	SuiteP384AES256:   {"MLS_256_DHKEMP384_AES256GCM_SHA384_P384", sha512.New384, elliptic.P384(), 97, 97, checkPoint(ecdh.P384()), nil},
	SuiteXWingChaCha:  {"MLS_256_XWING_CHACHA20POLY1305_SHA256_Ed25519", sha256.New, nil, xWingKey, ed25519.PublicKeySize, checkXWing, checkEdwards25519},
}

// spec returns the parameters of a known suite.
func (s CipherSuite) spec() suiteSpec {
	spec, ok := specs[s]
	if !ok {
		panic("mls: parameters of an unknown cipher suite")
	}
	return spec
}

func (s CipherSuite) newHash() hash.Hash { return s.spec().hash() }

// appendLength appends the length of a vector of n bytes, below 2^30, in its shortest form.
func appendLength(dst []byte, n int) []byte {
	switch v := uint32(n); { //nolint:gosec // an object as large was refused long before
	case v < 1<<6:
		return append(dst, uint8(v))
	case v < 1<<14:
		return binary.BigEndian.AppendUint16(dst, 0x4000|uint16(v))
	default:
		return binary.BigEndian.AppendUint32(dst, 0x80000000|v)
	}
}

// writeVector writes v with its length to a hash.
func writeVector(h hash.Hash, v []byte) {
	var head [4]byte
	h.Write(appendLength(head[:0], len(v)))
	h.Write(v)
}

// refHash is RFC 9420 5.2 for a known suite.
func refHash(s CipherSuite, label string, value []byte) []byte {
	h := s.newHash()
	writeVector(h, []byte(label))
	writeVector(h, value)
	return h.Sum(nil)
}

// signContent builds the input of SignWithLabel (RFC 9420 5.1.2). The content may
// come in parts, to spare the copies that joining them would take.
func signContent(label string, content ...[]byte) []byte {
	n := 0
	for _, c := range content {
		n += len(c)
	}
	const prefix = "MLS 1.0 "
	b := make([]byte, 0, 8+len(prefix)+len(label)+n)
	b = appendLength(b, len(prefix)+len(label))
	b = append(append(b, prefix...), label...)
	b = appendLength(b, n)
	for _, c := range content {
		b = append(b, c...)
	}
	return b
}

// verifyWithLabel reports whether sig is a signature over the content by the key,
// for a known suite. An invalid key verifies nothing. Compressed points are taken: whether a
// key may be compressed is the policy's decision, and its bytes are signed with the rest.
func (s CipherSuite) verifyWithLabel(key, sig []byte, label string, content ...[]byte) bool {
	return s.verify(key, sig, signContent(label, content...))
}

// verify verifies the signature of a message as it is.
func (s CipherSuite) verify(key, sig, msg []byte) bool {
	spec := s.spec()
	switch {
	case spec.curve != nil:
		pub, code := parsePoint(spec.curve, key)
		if code != 0 {
			return false
		}
		h := spec.hash()
		h.Write(msg)
		return ecdsa.VerifyASN1(pub, h.Sum(nil), sig)
	case len(key) != spec.sigKey:
		return false
	case spec.sigKey == ed448.PublicKeySize:
		return ed448.Verify(key, msg, sig, "")
	}
	// The options refuse nothing; a wrong length of sig is an error, where Verify would panic on a
	// key only.
	return ed25519.VerifyWithOptions(key, msg, sig, &ed25519.Options{Hash: crypto.Hash(0)}) == nil
}

// parsePoint reads a public key, compressed or not, and checks that it is on the curve.
func parsePoint(curve elliptic.Curve, key []byte) (*ecdsa.PublicKey, Code) {
	size := (curve.Params().BitSize + 7) / 8
	switch len(key) {
	case 1 + 2*size:
	case 1 + size:
		x, y := elliptic.UnmarshalCompressed(curve, key)
		if x == nil {
			return nil, CodeBadPoint
		}
		key = make([]byte, 1+2*size)
		key[0] = 4
		x.FillBytes(key[1 : 1+size])
		y.FillBytes(key[1+size:])
	default:
		return nil, CodeBadKeySize
	}
	pub, err := ecdsa.ParseUncompressedPublicKey(curve, key)
	if err != nil {
		return nil, CodeBadPoint
	}
	return pub, 0
}

// checkSignatureKey checks size, point and order of a signature key of a known suite.
func (s CipherSuite) checkSignatureKey(key []byte, allowCompressed bool) Code {
	spec := s.spec()
	if spec.curve == nil {
		if len(key) != spec.sigKey {
			return CodeBadKeySize
		}
		return spec.checkSig(key)
	}
	if _, code := parsePoint(spec.curve, key); code != 0 {
		return code
	}
	if len(key) != spec.sigKey && !allowCompressed {
		return CodeCompressedPoint
	}
	return 0
}

// checkKEMKey checks size, point and order of an HPKE key of a known suite. RFC 9180 has
// no compressed form, so there is no flag.
func (s CipherSuite) checkKEMKey(key []byte) Code {
	spec := s.spec()
	if len(key) != spec.kemKey {
		if spec.curve != nil && len(key) == (spec.kemKey+1)/2 {
			return CodeCompressedPoint
		}
		return CodeBadKeySize
	}
	return spec.checkKEM(key)
}
