package mls_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

func TestPrivateMessageHeaderAllocatesOnce(t *testing.T) { //nolint:paralleltest // counts the allocations of the whole process
	raw := mlstest.NewGroup(1).Application(400)
	n := testing.AllocsPerRun(100, func() {
		if _, err := mls.ParseMessage(raw); err != nil {
			t.Fatal(err)
		}
	})
	assert.LessOrEqual(t, n, 1.0)
}

// The header of a PrivateMessage is to be read in under 1 µs with at most one allocation.
func BenchmarkParsePrivateMessage(b *testing.B) {
	raw := mlstest.NewGroup(1).Application(400)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mls.ParseMessage(raw); err != nil {
			b.Fatal(err)
		}
	}
}

// An Ed25519 key package is to be parsed and validated in under 150 µs.
func BenchmarkReadKeyPackage(b *testing.B) {
	policy := mls.DefaultKeyPackagePolicy()
	for _, suite := range []mls.CipherSuite{1, 2} {
		b.Run(suite.String(), func(b *testing.B) {
			raw := mlstest.NewClient(alice, "phone", suite).KeyPackage(testTime).Bytes
			b.ReportAllocs()
			for b.Loop() {
				if _, err := policy.Read(raw, mls.KeyPackageOwner{DID: alice}, testTime); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	file := fixtures(b)
	for _, f := range file.KeyPackages {
		if f.Name == "suite-4" || f.Name == "suite-5-uncompressed" {
			b.Run(f.Name, func(b *testing.B) {
				raw := f.bytes(b)
				for b.Loop() {
					_, err := policy.Read(raw, mls.KeyPackageOwner{}, file.at())
					require.NoError(b, err)
				}
			})
		}
	}
}

func BenchmarkReadSend10MiB(b *testing.B) {
	g := mlstest.NewGroup(1)
	raw := mlstest.PadDirect(g.Application(400), mls.MaxPaddedSize)
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, err := mls.ReadSendForTest(raw, 0, 0, g.State()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkReadCommit(b *testing.B) {
	g := mlstest.NewGroup(1)
	raw := g.Commit(mlstest.Commit{
		From:      mlstest.NewClient(alice, "", 1),
		Proposals: []mlstest.Proposal{mlstest.Add(mlstest.NewClient(bob, "", 1).KeyPackage(testTime)), mlstest.Remove(3)},
	})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := mls.ReadCommit(raw, g.State()); err != nil {
			b.Fatal(err)
		}
	}
}
