package store

import (
	"sync/atomic"
	"testing"

	"mls-server/internal/mls"
)

// BenchmarkSend measures a send's statement: over many conversations, and
// into one, where senders wait for each other.
func BenchmarkSend(b *testing.B) {
	for name, conversations := range map[string]int{"many": 500, "one": 1} {
		b.Run(name, func(b *testing.B) {
			s := open(b, 16)
			convos := make([]mls.ConvoID, conversations)
			for i := range convos {
				convos[i] = newConvo(b, s, alice, bob)
			}
			var n atomic.Int64
			b.SetParallelism(32)
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					convo := convos[int(n.Add(1))%len(convos)]
					if _, err := s.SendMessage(b.Context(), message(convo, alice, "hello")); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkClaim measures one claim of one package.
func BenchmarkClaim(b *testing.B) {
	s := open(b, 16)
	packages := make([]NewKeyPackage, b.N)
	for i := range packages {
		packages[i] = packageFor(1)
	}
	inTx(b, s, func(tx *Tx) error {
		return tx.PublishKeyPackages(b.Context(), Device{User: alice}, packages, b.N, noon)
	})
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if got, err := s.ClaimKeyPackages(b.Context(), ClaimParams{Owners: []mls.DID{alice}, Now: noon}); err != nil || len(got) != 1 {
				b.Errorf("%d packages, %v", len(got), err)
			}
		}
	})
}
