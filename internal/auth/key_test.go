package auth

import (
	"bytes"
	"encoding/hex"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/mr-tron/base58"
)

// The parameters of secp256k1 (SEC 2, 2.4.1): the order and the field.
const (
	orderK256 = "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141"
	fieldK256 = "fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2f"
)

func number(t *testing.T, text string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(text, 16)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return n
}

func multikey(t *testing.T, key atcrypto.PublicKey) PublicKey {
	t.Helper()
	k, err := parseKey(&verificationMethod{Type: "Multikey", PublicKeyMultibase: key.Multibase()})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// newPair makes a secp256k1 key.
func newPair(t *testing.T) (*atcrypto.PrivateKeyK256, atcrypto.PublicKey) {
	t.Helper()
	private, err := atcrypto.GeneratePrivateKeyK256()
	if err != nil {
		t.Fatal(err)
	}
	public, err := private.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return private, public
}

// All builds, whatever library they verify with, take the same signatures: those
// that indigo takes.
func TestBuildsAgreeOnSignatures(t *testing.T) {
	t.Parallel()
	private, public := newPair(t)
	key, message := multikey(t, public), []byte("message")
	if key.Alg() != algES256K {
		t.Errorf("alg %q", key.Alg())
	}
	sig, err := private.HashAndSign(message)
	if err != nil {
		t.Fatal(err)
	}
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:])
	n, p := number(t, orderK256), number(t, fieldK256)
	minus := func(a *big.Int, b int64) *big.Int { return new(big.Int).Sub(a, big.NewInt(b)) }
	highS := new(big.Int).Sub(n, s)
	for _, tc := range []struct {
		name string
		r, s *big.Int
		want bool
	}{
		{"low S", r, s, true},
		{"high S", r, highS, true},
		{"negated R", new(big.Int).Sub(n, r), s, false},
		{"R and S swapped", s, r, false},
		{"R zero", new(big.Int), s, false},
		{"S zero", r, new(big.Int), false},
		{"both zero", new(big.Int), new(big.Int), false},
		{"both one", big.NewInt(1), big.NewInt(1), false},
		{"R the order", n, s, false},
		{"S the order", r, n, false},
		{"R one below the order", minus(n, 1), s, false},
		{"S one below the order", r, minus(n, 1), false},
		{"R one above the order", minus(n, -1), s, false},
		{"R the field", p, s, false},
		{"S all ones", r, minus(new(big.Int).Lsh(big.NewInt(1), 256), 1), false},
	} {
		sig := tc.r.FillBytes(make([]byte, 32))
		sig = append(sig, tc.s.FillBytes(make([]byte, 32))...)
		if got := key.Verify(message, sig); got != tc.want {
			t.Errorf("%s: %v", tc.name, got)
		}
		if got := public.HashAndVerifyLenient(message, sig) == nil; got != tc.want {
			t.Errorf("%s: indigo says %v", tc.name, got)
		}
		if key.Verify([]byte("another"), sig) {
			t.Errorf("%s: fits another message", tc.name)
		}
	}
	for size := range 130 {
		if size != signatureSize && key.Verify(message, append(bytes.Clone(sig), make([]byte, 66)...)[:size]) {
			t.Errorf("%d bytes are a signature", size)
		}
	}

	source := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		damaged := bytes.Clone(sig)
		damaged[source.IntN(len(damaged))] ^= byte(1 + source.IntN(255))
		if key.Verify(message, damaged) || public.HashAndVerifyLenient(message, damaged) == nil {
			t.Fatalf("%x passes for %x", damaged, sig)
		}
	}
}

// The x of the point R may be the signature's R or, when that is small, R plus
// the order. The keys were computed from the points, with S = 3.
func TestSignatureWithLargeX(t *testing.T) {
	t.Parallel()
	sig, _ := hex.DecodeString("000000000000000000000000000000014551231950b75fc4402da1722fc9baeb" +
		"0000000000000000000000000000000000000000000000000000000000000003")
	for text, want := range map[string]bool{
		"03bc8c4baae3c97b090e4ed94ac7aa4cef03667e45d10a97c90e559fe5720d615b": true, // x = R + n
		"0378768a28100fd34f7fc5cfdb816b588a1bb421ee7307a54c1f1f5b96ec2fc368": true, // x = R
		// the first one, negated
		"02bc8c4baae3c97b090e4ed94ac7aa4cef03667e45d10a97c90e559fe5720d615b": false,
	} {
		raw, _ := hex.DecodeString(text)
		public, err := atcrypto.ParsePublicBytesK256(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := multikey(t, public).Verify([]byte("large x"), sig); got != want {
			t.Errorf("%s: %v", text, got)
		}
		n := number(t, orderK256)
		overflow := n.Add(n, new(big.Int).SetBytes(sig[:32])).FillBytes(make([]byte, 32))
		if multikey(t, public).Verify([]byte("large x"), append(overflow, sig[32:]...)) {
			t.Errorf("%s: R above the order passes", text)
		}
	}
}

// Points that are not on the curve, or not in a form that atproto knows, are no keys.
func TestBuildsAgreeOnKeys(t *testing.T) {
	t.Parallel()
	_, public := newPair(t)
	full, short := public.UncompressedBytes(), public.Bytes()
	parity := full[64] & 1
	edit := func(b []byte, change func(b []byte)) []byte {
		b = bytes.Clone(b)
		change(b)
		return b
	}
	x := func(text string) []byte { return append([]byte{2}, number(t, text).FillBytes(make([]byte, 32))...) }
	for name, tc := range map[string]struct {
		raw  []byte
		want bool
	}{
		"uncompressed":             {full, true},
		"compressed":               {short, true},
		"with the multicodec":      {append(bytes.Clone(codecK256), short...), true},
		"the other y":              {edit(short, func(b []byte) { b[0] ^= 1 }), true},
		"off the curve":            {edit(full, func(b []byte) { b[64] ^= 1 }), false},
		"all zeros":                {make([]byte, 65), false},
		"zeros as a point":         {append([]byte{4}, make([]byte, 64)...), false},
		"infinity":                 {[]byte{0}, false},
		"hybrid":                   {edit(full, func(b []byte) { b[0] = 6 + parity }), false},
		"hybrid of wrong parity":   {edit(full, func(b []byte) { b[0] = 7 - parity }), false},
		"x without a point":        {x("5"), false},
		"x zero":                   {x("0"), false},
		"x the field":              {x(fieldK256), false},
		"x one, above the field":   {x("fffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc30"), false},
		"x one":                    {x("1"), true},
		"compressed with a prefix": {edit(short, func(b []byte) { b[0] = 4 }), false},
		"nothing":                  {nil, false},
	} {
		key, err := parseKey(&verificationMethod{Type: "EcdsaSecp256k1VerificationKey2019", PublicKeyMultibase: "z" + base58.Encode(tc.raw)})
		if (err == nil) != tc.want {
			t.Errorf("%s: %v", name, err)
		}
		if key != nil && key.Verify(nil, make([]byte, signatureSize)) {
			t.Errorf("%s: zeros are a signature", name)
		}
	}
}
