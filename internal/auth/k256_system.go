//go:build libsecp256k1

package auth

/*
#cgo pkg-config: libsecp256k1
#cgo noescape verify_compact
#cgo nocallback verify_compact
#include <secp256k1.h>

// The context that needs no set-up serves all that verifies.
static int parse_key(secp256k1_pubkey *key, const unsigned char *in, size_t size) {
	return secp256k1_ec_pubkey_parse(secp256k1_context_static, key, in, size);
}

// secp256k1_ecdsa_verify takes a low S only: both values of S are made that one.
static int verify_compact(const secp256k1_pubkey *key, const unsigned char *sig, const unsigned char *hash) {
	secp256k1_ecdsa_signature s;
	if (!secp256k1_ecdsa_signature_parse_compact(secp256k1_context_static, &s, sig)) {
		return 0;
	}
	secp256k1_ecdsa_signature_normalize(secp256k1_context_static, &s, &s);
	return secp256k1_ecdsa_verify(secp256k1_context_static, &s, hash, key);
}
*/
import "C"

import (
	"crypto/sha256"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

// systemKey verifies with the system's libsecp256k1. The key is parsed once and
// kept in the library's own form, which is 64 bytes without pointers.
type systemKey struct {
	key C.secp256k1_pubkey
}

func newK256(k *atcrypto.PublicKeyK256) (verifier, error) {
	s := new(systemKey)
	raw := k.UncompressedBytes()
	if C.parse_key(&s.key, (*C.uchar)(&raw[0]), C.size_t(len(raw))) != 1 {
		return nil, errBadKey
	}
	return s, nil
}

func (*systemKey) Alg() string { return algES256K }

func (k *systemKey) Verify(message, sig []byte) bool {
	if len(sig) != signatureSize {
		return false
	}
	hash := sha256.Sum256(message)
	return C.verify_compact(&k.key, (*C.uchar)(&sig[0]), (*C.uchar)(&hash[0])) == 1
}
