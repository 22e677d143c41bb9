package mlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mlkem"
	"crypto/rand"
	_ "crypto/sha256" // what crypto.Hash makes
	_ "crypto/sha512"

	"github.com/cloudflare/circl/sign/ed448"

	"mls-server/internal/mls"
)

// curves are those of suites with ECDSA.
var curves = map[mls.CipherSuite]elliptic.Curve{
	mls.SuiteP256AES128: elliptic.P256(), mls.SuiteP384AES256: elliptic.P384(), mls.SuiteP521AES256: elliptic.P521(),
}

// hashOf is the hash of a suite.
func hashOf(suite mls.CipherSuite) crypto.Hash {
	switch suite {
	case mls.SuiteX448AES256, mls.SuiteX448ChaCha, mls.SuiteP521AES256:
		return crypto.SHA512
	case mls.SuiteP384AES256:
		return crypto.SHA384
	case mls.SuiteX25519AES128, mls.SuiteP256AES128, mls.SuiteX25519ChaCha, mls.SuiteXWingChaCha:
	}
	return crypto.SHA256
}

// sum hashes the parts, one behind the other.
func sum(suite mls.CipherSuite, parts ...[]byte) []byte {
	h := hashOf(suite).New()
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}

// newKey makes a signature key of the suite.
func newKey(suite mls.CipherSuite) (crypto.Signer, []byte) {
	switch suite {
	case mls.SuiteX448AES256, mls.SuiteX448ChaCha:
		pub, key, err := ed448.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return key, pub
	case mls.SuiteP256AES128, mls.SuiteP384AES256, mls.SuiteP521AES256:
		key, err := ecdsa.GenerateKey(curves[suite], rand.Reader)
		if err != nil {
			panic(err)
		}
		pub, err := key.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		return key, pub
	case mls.SuiteX25519AES128, mls.SuiteX25519ChaCha, mls.SuiteXWingChaCha:
	}
	pub, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		panic(err)
	}
	return key, pub
}

// newKEMKey makes a public HPKE key of the suite; nobody has its private half.
func newKEMKey(suite mls.CipherSuite) []byte {
	switch suite {
	case mls.SuiteP256AES128, mls.SuiteP384AES256, mls.SuiteP521AES256:
		_, pub := newKey(suite)
		return pub
	case mls.SuiteX448AES256, mls.SuiteX448ChaCha:
		return Random(56)
	case mls.SuiteXWingChaCha:
		key, err := mlkem.GenerateKey768()
		if err != nil {
			panic(err)
		}
		return append(key.EncapsulationKey().Bytes(), Random(32)...)
	case mls.SuiteX25519AES128, mls.SuiteX25519ChaCha:
	}
	return Random(32)
}

// sign is SignWithLabel of RFC 9420 5.1.2.
func sign(key crypto.Signer, label string, content []byte) []byte {
	var e encoder
	e.vec([]byte("MLS 1.0 " + label))
	e.vec(content)
	return signRaw(key, e)
}

// signRaw signs a message as it is.
func signRaw(key crypto.Signer, msg []byte) []byte {
	opts := crypto.SignerOpts(crypto.Hash(0))
	if k, ok := key.(*ecdsa.PrivateKey); ok {
		for suite, curve := range curves {
			if curve == k.Curve {
				opts, msg = hashOf(suite), sum(suite, msg)
			}
		}
	}
	sig, err := key.Sign(rand.Reader, msg, opts)
	if err != nil {
		panic(err)
	}
	return sig
}
