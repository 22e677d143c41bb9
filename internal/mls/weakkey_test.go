package mls

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/mlkem"
	"crypto/rand"
	"encoding/hex"
	"math/big"
	"slices"
	"testing"

	"github.com/cloudflare/circl/dh/x448"
	"github.com/cloudflare/circl/sign/ed448"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSmallOrderKeys: the points whose order divides the cofactor are refused, in each of
// their encodings, and keys that libraries make are not.
func TestSmallOrderKeys(t *testing.T) {
	t.Parallel()
	// RFC 7748 calls for a check of the result; these are all u of small order on curve25519 and
	// its twist.
	for _, u := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		key, err := hex.DecodeString(u)
		require.NoError(t, err)
		assert.Equal(t, CodeSmallOrderKey, SuiteX25519AES128.checkKEMKey(key), u)
		hybrid := append(encapsulationKey(t), key...)
		assert.Equal(t, CodeSmallOrderKey, SuiteXWingChaCha.checkKEMKey(hybrid), u)
	}
	for _, y := range smallOrderY(t) {
		for _, sign := range []byte{0, 0x80} {
			key := slices.Clone(y)
			key[31] |= sign
			assert.Equal(t, CodeSmallOrderKey, SuiteX25519ChaCha.checkSignatureKey(key, false), "%x", key)
		}
	}
	for _, y := range [][]byte{make([]byte, 57), append([]byte{1}, make([]byte, 56)...)} {
		assert.Equal(t, CodeSmallOrderKey, SuiteX448AES256.checkSignatureKey(y, false))
		assert.Equal(t, CodeSmallOrderKey, SuiteX448AES256.checkKEMKey(y[:56]))
	}
	for range 50 {
		private, err := ecdh.X25519().GenerateKey(rand.Reader)
		require.NoError(t, err)
		assert.Zero(t, SuiteX25519AES128.checkKEMKey(private.PublicKey().Bytes()))
		assert.Zero(t, SuiteXWingChaCha.checkKEMKey(append(encapsulationKey(t), private.PublicKey().Bytes()...)))
		public, _, err := ed25519.GenerateKey(rand.Reader)
		require.NoError(t, err)
		assert.Zero(t, SuiteX25519AES128.checkSignatureKey(public, false))
		large, _, err := ed448.GenerateKey(rand.Reader)
		require.NoError(t, err)
		assert.Zero(t, SuiteX448ChaCha.checkSignatureKey(large, false))
		var secret, shared x448.Key
		_, _ = rand.Read(secret[:])
		x448.KeyGen(&shared, &secret)
		assert.Zero(t, SuiteX448ChaCha.checkKEMKey(shared[:]))
	}
	bad := append(bytes.Repeat([]byte{0xff}, mlkem.EncapsulationKeySize768), make([]byte, 32)...)
	assert.Equal(t, CodeBadPoint, SuiteXWingChaCha.checkKEMKey(bad))
	assert.Equal(t, CodeBadKeySize, SuiteXWingChaCha.checkKEMKey(bad[1:]))
}

func encapsulationKey(t *testing.T) []byte {
	t.Helper()
	key, err := mlkem.GenerateKey768()
	require.NoError(t, err)
	return key.EncapsulationKey().Bytes()
}

// smallOrderY has the y of all points of small order on edwards25519, also beyond the prime.
// They follow from the curve's equation: order 1 and 2 have y = ±1, order 4 has y = 0, and a point
// of order 8 doubles to one of order 4: x² = -y² there, so d·y⁴ + 2·y² - 1 = 0.
func smallOrderY(t *testing.T) [][]byte {
	t.Helper()
	p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	mod := func(x *big.Int) *big.Int { return x.Mod(x, p) }
	d := mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), p)))
	root := new(big.Int).ModSqrt(mod(new(big.Int).Add(d, big.NewInt(1))), p)
	require.NotNil(t, root)
	all := []*big.Int{big.NewInt(1), mod(big.NewInt(-1)), big.NewInt(0), new(big.Int).Set(p), new(big.Int).Add(p, big.NewInt(1))}
	for _, r := range []*big.Int{root, new(big.Int).Neg(root)} {
		square := mod(new(big.Int).Mul(new(big.Int).Sub(r, big.NewInt(1)), new(big.Int).ModInverse(d, p)))
		if y := new(big.Int).ModSqrt(square, p); y != nil {
			all = append(all, y, mod(new(big.Int).Neg(y)))
		}
	}
	require.Len(t, all, 7)
	var keys [][]byte
	for _, y := range all {
		b := y.FillBytes(make([]byte, 32))
		slices.Reverse(b)
		keys = append(keys, b)
	}
	return keys
}
