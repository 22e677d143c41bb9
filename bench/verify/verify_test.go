package verifybench

import (
	"crypto/sha256"
	"syscall"
	"testing"
	"time"

	"github.com/bluesky-social/indigo/atproto/atcrypto"
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
)

// message is as long as the signed part of a service token.
var message = make([]byte, 380)

// BenchmarkVerify verifies one signature over and over, with the key parsed
// before. "server" is what internal/auth does in this build: for ES256K that is
// indigo, or libsecp256k1 with the tag of that name. cpu-ns/op is the time that
// the process computed, which other work on the machine disturbs less.
func BenchmarkVerify(b *testing.B) {
	for _, bc := range []struct {
		name   string
		curve  authtest.Curve
		verify func(tb testing.TB, i *authtest.Identity, d *authtest.Directory) func(message, sig []byte) bool
	}{
		{"ES256K/server", authtest.K256, server},
		{"ES256K/indigo", authtest.K256, indigo},
		{"ES256K/decred", authtest.K256, decred},
		{"ES256/server", authtest.P256, server},
		{"ES256/indigo", authtest.P256, indigo},
	} {
		b.Run(bc.name, func(b *testing.B) {
			d := authtest.NewDirectory(b, nil)
			i := d.NewIdentity(bc.curve)
			sig, err := i.PrivateKey().HashAndSign(message)
			if err != nil {
				b.Fatal(err)
			}
			verify := bc.verify(b, i, d)
			if !verify(message, sig) || verify(message[1:], sig) {
				b.Fatal("does not verify")
			}
			b.ReportAllocs()
			before := cpu(b)
			for b.Loop() {
				verify(message, sig)
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

func cpu(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func server(tb testing.TB, i *authtest.Identity, d *authtest.Directory) func(message, sig []byte) bool {
	tb.Helper()
	client, err := egress.New(egress.Config{Allow: d.HostPorts()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(client.CloseIdle)
	id, err := auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: d.URL(), Clock: clock.System}).Resolve(tb.Context(), i.DID)
	if err != nil {
		tb.Fatal(err)
	}
	return id.Key.Verify
}

func indigo(tb testing.TB, i *authtest.Identity, _ *authtest.Directory) func(message, sig []byte) bool {
	tb.Helper()
	key := public(tb, i)
	return func(message, sig []byte) bool { return key.HashAndVerifyLenient(message, sig) == nil }
}

func decred(tb testing.TB, i *authtest.Identity, _ *authtest.Directory) func(message, sig []byte) bool {
	tb.Helper()
	key, err := secp256k1.ParsePubKey(public(tb, i).Bytes())
	if err != nil {
		tb.Fatal(err)
	}
	return func(message, sig []byte) bool {
		var r, s secp256k1.ModNScalar
		if r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:]) {
			return false
		}
		hash := sha256.Sum256(message)
		return ecdsa.NewSignature(&r, &s).Verify(hash[:], key)
	}
}

func public(tb testing.TB, i *authtest.Identity) atcrypto.PublicKey {
	tb.Helper()
	key, err := i.PrivateKey().PublicKey()
	if err != nil {
		tb.Fatal(err)
	}
	return key
}
