package mlstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"

	"mls-server/internal/mls"
)

// encoder appends the wire format of RFC 9420 section 2.1 to itself.
type encoder []byte

func (e *encoder) u8(v uint8)   { *e = append(*e, v) }
func (e *encoder) u16(v uint16) { *e = binary.BigEndian.AppendUint16(*e, v) }
func (e *encoder) u32(v uint32) { *e = binary.BigEndian.AppendUint32(*e, v) }
func (e *encoder) u64(v uint64) { *e = binary.BigEndian.AppendUint64(*e, v) }
func (e *encoder) raw(b []byte) { *e = append(*e, b...) }

// vec appends opaque<V>.
func (e *encoder) vec(b []byte) {
	switch n := uint32(len(b)); { //nolint:gosec // no test makes 4 GiB
	case n < 1<<6:
		e.u8(uint8(n))
	case n < 1<<14:
		e.u16(0x4000 | uint16(n))
	default:
		e.u32(0x80000000 | n)
	}
	e.raw(b)
}

// list appends T<V>, whose elements f writes.
func (e *encoder) list(f func(*encoder)) {
	var sub encoder
	f(&sub)
	e.vec(sub)
}

func (e *encoder) u16s(v []uint16) {
	e.list(func(e *encoder) {
		for _, x := range v {
			e.u16(x)
		}
	})
}

func (e *encoder) extensions(list []Extension) {
	e.list(func(e *encoder) {
		for _, x := range list {
			e.u16(uint16(x.Type))
			e.vec(x.Data)
		}
	})
}

func wrap(format mls.WireFormat, body []byte) []byte {
	e := encoder{0, 1}
	e.u16(uint16(format))
	e.raw(body)
	return e
}

// Random returns n random bytes.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// newKey makes a signature key of the suite: Ed25519 or P-256.
func newKey(suite mls.CipherSuite) (crypto.Signer, []byte) {
	switch suite {
	case mls.SuiteX25519AES128, mls.SuiteX25519ChaCha:
		pub, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			panic(err)
		}
		return key, pub
	case mls.SuiteP256AES128:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			panic(err)
		}
		pub, err := key.PublicKey.Bytes()
		if err != nil {
			panic(err)
		}
		return key, pub
	default:
		panic("mlstest: suites 1, 2 and 3 only")
	}
}

// newKEMKey makes a public HPKE key of the suite; nobody has its private half.
func newKEMKey(suite mls.CipherSuite) []byte {
	if suite == mls.SuiteP256AES128 {
		_, pub := newKey(suite)
		return pub
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
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		sum := sha256.Sum256(msg)
		opts, msg = crypto.SHA256, sum[:]
	}
	sig, err := key.Sign(rand.Reader, msg, opts)
	if err != nil {
		panic(err)
	}
	return sig
}
