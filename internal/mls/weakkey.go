package mls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/mlkem"
	"math/big"
	"slices"
	"sync"

	"github.com/cloudflare/circl/dh/x448"
)

// Keys of small order are refused: a secret sealed to one is known to everybody, so libraries
// fail when they try (and the whole commit with it), and a signature key of small order verifies
// signatures that nobody made.

// probe is a private key that no secret hangs on: multiplied by a point of small order it gives
// zero.
var probe = sync.OnceValue(func() *ecdh.PrivateKey {
	key, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{1}, 32))
	if err != nil {
		panic(err) // 32 bytes are a private key
	}
	return key
})

func checkX25519(key []byte) Code {
	pub, err := ecdh.X25519().NewPublicKey(key)
	if err != nil {
		return CodeBadKeySize
	}
	if _, err := probe().ECDH(pub); err != nil {
		return CodeSmallOrderKey
	}
	return 0
}

func checkX448(key []byte) Code {
	var secret, public, shared x448.Key
	secret[0], public = 4, x448.Key(key)
	if !x448.Shared(&shared, &secret, &public) {
		return CodeSmallOrderKey
	}
	return 0
}

// xWing is the suite's KEM: an ML-KEM-768 key and behind it an X25519 key.
const xWingKey = mlkem.EncapsulationKeySize768 + 32

func checkXWing(key []byte) Code {
	if _, err := mlkem.NewEncapsulationKey768(key[:mlkem.EncapsulationKeySize768]); err != nil {
		return CodeBadPoint
	}
	return checkX25519(key[mlkem.EncapsulationKeySize768:])
}

func checkPoint(curve ecdh.Curve) func(key []byte) Code {
	return func(key []byte) Code {
		if _, err := curve.NewPublicKey(key); err != nil {
			return CodeBadPoint
		}
		return 0
	}
}

// checkEdwards25519 maps a signature key to the Montgomery form, u = (1+y)/(1-y), and asks
// there: the map keeps orders (RFC 7748 4.1).
func checkEdwards25519(key []byte) Code {
	p := new(big.Int).Lsh(big.NewInt(1), 255)
	p.Sub(p, big.NewInt(19))
	y := littleEndian(key, 255)
	y.Mod(y, p)
	one := big.NewInt(1)
	if y.Cmp(one) == 0 {
		return CodeSmallOrderKey // the neutral element, which has no u
	}
	u := new(big.Int).ModInverse(new(big.Int).Sub(one, y), p)
	u.Mul(u, new(big.Int).Add(one, y))
	u.Mod(u, p)
	b := u.FillBytes(make([]byte, 32))
	slices.Reverse(b)
	return checkX25519(b)
}

// checkEdwards448: the points of small order are those with y of 1, -1 and 0 (RFC 7748 4.2,
// cofactor 4).
func checkEdwards448(key []byte) Code {
	p := new(big.Int).Lsh(big.NewInt(1), 448)
	p.Sub(p, new(big.Int).Lsh(big.NewInt(1), 224))
	p.Sub(p, big.NewInt(1))
	y := littleEndian(key[:56], 448)
	y.Mod(y, p)
	minusOne := new(big.Int).Sub(p, big.NewInt(1))
	if y.BitLen() <= 1 || y.Cmp(minusOne) == 0 {
		return CodeSmallOrderKey
	}
	return 0
}

// littleEndian reads the low bits of a number.
func littleEndian(b []byte, bits int) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	if extra := 8*len(b) - bits; extra > 0 {
		b[0] &= 0xff >> extra
	}
	return new(big.Int).SetBytes(b)
}
