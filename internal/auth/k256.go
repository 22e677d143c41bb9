//go:build !libsecp256k1

package auth

import (
	"github.com/bluesky-social/indigo/atproto/atcrypto"
)

func newK256(k *atcrypto.PublicKeyK256) (verifier, error) {
	return atprotoKey{alg: algES256K, key: k}, nil
}
