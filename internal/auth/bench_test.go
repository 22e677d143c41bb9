package auth_test

import (
	"encoding/binary"
	"runtime"
	"testing"
	"time"

	"mls-server/internal/auth"
	"mls-server/internal/authtest"
	"mls-server/internal/clock"
	"mls-server/internal/egress"
)

// BenchmarkAuthenticate measures a whole check with a cached document; nearly
// all of it is the signature.
func BenchmarkAuthenticate(b *testing.B) {
	for name, curve := range map[string]authtest.Curve{"ES256K": authtest.K256, "ES256": authtest.P256} {
		b.Run(name, func(b *testing.B) {
			dir := authtest.NewDirectory(b, nil)
			client, err := egress.New(egress.Config{Allow: dir.HostPorts()})
			if err != nil {
				b.Fatal(err)
			}
			a, err := auth.New(auth.Config{
				ServiceDID: serviceDID, ServiceID: serviceID, EnforceLXM: true, EnforceJTI: false, JTITTL: time.Minute,
				Resolver: auth.NewResolver(auth.ResolverConfig{Client: client, PLCURL: dir.URL(), Clock: clock.System}),
				Replays:  auth.NewMemoryReplays(1000, clock.System), Hasher: newHasher(b), Clock: clock.System,
			})
			if err != nil {
				b.Fatal(err)
			}
			id := dir.NewIdentity(curve)
			header := id.Bearer(serviceDID, standard.NSID, id.ExpiresIn(time.Hour))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Authenticate(b.Context(), standard, header, "192.0.2.1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMemoryReplays measures a store with a million live tokens.
func BenchmarkMemoryReplays(b *testing.B) {
	s := auth.NewMemoryReplays(1<<30, clock.System)
	until := time.Now().Add(time.Hour)
	var k [32]byte
	n := uint64(0)
	put := func() {
		n++
		binary.LittleEndian.PutUint64(k[:], n)
		binary.LittleEndian.PutUint64(k[16:], n)
		if fresh, err := s.Use(b.Context(), k, until); err != nil || !fresh {
			b.Fatal(fresh, err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 1_000_000 {
		put()
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perToken := float64(after.HeapAlloc-before.HeapAlloc) / 1e6
	b.ReportAllocs()
	for b.Loop() {
		put()
	}
	b.ReportMetric(perToken, "B/token")
}
