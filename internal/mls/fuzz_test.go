package mls_test

import (
	"bytes"
	"testing"

	"mls-server/internal/mls"
	"mls-server/internal/mlstest"
)

// seeds are the fixtures, and one made object of each kind that they lack.
func seeds(f *testing.F) [][]byte {
	f.Helper()
	file := fixtures(f)
	var all [][]byte
	for _, list := range [][]fixture{file.KeyPackages, file.InvalidKeyPackages, file.Malformed, file.Messages, file.Flow.Events} {
		for _, x := range list {
			if b := x.bytes(f); len(b) < 8192 {
				all = append(all, b)
			}
		}
	}
	g := mlstest.NewGroup(1)
	a := mlstest.NewClient(alice, "a", 1)
	k := mlstest.NewClient(bob, "b", 1).KeyPackage(testTime, mlstest.LastResort)
	return append(all,
		g.Commit(mlstest.Commit{From: a, Proposals: []mlstest.Proposal{
			mlstest.Add(k), mlstest.Remove(7), mlstest.PSK("id", "nonce"), mlstest.GroupContextExtensions(mlstest.Extension{Type: 9, Data: []byte{1}}),
		}, Refs: []mls.ProposalRef{"aabb"}}),
		g.Commit(mlstest.Commit{From: a, External: true, Proposals: []mlstest.Proposal{mlstest.ExternalInit(), mlstest.Remove(1)}}),
		g.Commit(mlstest.Commit{From: a, Proposals: []mlstest.Proposal{mlstest.Custom(0xf00a, []byte{1})}}),
		g.Propose(a, 1, mlstest.Update()), g.Propose(a, 1, mlstest.ReInit()),
		g.ProposeAs(mls.SenderNewMemberProposal, a, 0, mlstest.Add(k)),
		g.ProposeAs(mls.SenderExternal, a, 0, mlstest.Remove(1)),
		g.PublicApplication(a, "hi"), g.GroupInfo(a, true, a.KeyPackage(testTime), k), g.Welcome(k.Ref),
	)
}

// checkSlice fails when part is not a part of whole, or could grow into it.
func checkSlice(t *testing.T, whole, part []byte) {
	t.Helper()
	if len(part) != cap(part) {
		t.Fatalf("a slice of %d bytes has room for %d", len(part), cap(part))
	}
	if !bytes.Contains(whole, part) {
		t.Fatal("a slice is not part of the input")
	}
}

func FuzzMLSMessage(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		m, err := mls.ParseMessage(b)
		if err != nil {
			if c := mls.CodeOf(err); c == 0 || m != nil {
				t.Fatalf("an error without a code, or a message with it: %v", err)
			}
			return
		}
		if !bytes.Equal(m.Raw, b) {
			t.Fatal("the raw message is not the input")
		}
		checkSlice(t, b, m.Raw)
		state := mls.GroupState{Suite: 1}
		if fr := m.Framing(); fr != nil {
			checkSlice(t, b, fr.GroupID)
			state.GroupID, state.Epoch = mls.GroupIDFromBytes(fr.GroupID), fr.Epoch
			commit, commitErr := mls.ReadCommit(b, state)
			proposal, proposalErr := mls.ReadProposal(b, state)
			if commitErr == nil && proposalErr == nil {
				t.Fatal("both a commit and a proposal")
			}
			if commitErr == nil && commit.Message == nil || proposalErr == nil && proposal.Message == nil {
				t.Fatal("a handshake without a message")
			}
		}
		if m.Public != nil && !m.Public.Opaque {
			checkSlice(t, b, m.Public.Signature)
			m.Public.ProposalRef(1)
			_ = m.Public.Verify(&mls.GroupContext{GroupID: m.Public.GroupID, Epoch: m.Public.Epoch, Suite: 1}, &mls.RatchetTree{})
		}
		if m.GroupInfo != nil {
			_ = m.GroupInfo.Verify(nil)
			_, _ = m.GroupInfo.Context.ExternalSenders()
		}
		// With a byte more it is another message, or the one that cannot tell.
		if _, err := mls.ParseMessage(append(bytes.Clone(b), 0)); err == nil && (m.Public == nil || !m.Public.Opaque) {
			t.Fatal("a trailing byte went unnoticed")
		}
		if !bytes.Equal(before, b) {
			t.Fatal("the input was changed")
		}
	})
}

func FuzzKeyPackage(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
		if len(b) > 4 {
			f.Add(b[4:])
		}
	}
	policy := allSuites()
	policy.AllowCompressedKeys = true
	at := fixtures(f).at()
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := mls.ParseKeyPackage(b)
		if err != nil {
			if mls.CodeOf(err) == 0 {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		checkSlice(t, b, k.Raw)
		checkSlice(t, b, k.Leaf.Raw)
		checkSlice(t, b, k.Leaf.Credential.Identity)
		again, err := mls.ParseKeyPackage(k.Raw)
		if err == nil && again.Ref() != k.Ref() {
			t.Fatal("wrapped and bare have different references")
		}
		if got, err := policy.Read(b, mls.KeyPackageOwner{}, at); err == nil {
			if k.Verify() != nil || got.Ref == "" || got.DID == "" {
				t.Fatal("an unverified package passed the policy")
			}
		} else if mls.CodeOf(err) == 0 {
			t.Fatalf("an error without a code: %v", err)
		}
	})
}

func FuzzUnwrapPadding(f *testing.F) {
	for i, b := range seeds(f) {
		if i%4 == 0 {
			f.Add(mlstest.PadDirect(b, 0))
			f.Add(mlstest.PadPrefixed(b, 0))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, padding := mls.UnwrapPadding(b)
		switch padding {
		case mls.PaddingOpaque:
			if m != nil {
				t.Fatal("a message without a form")
			}
			return
		case mls.PaddingDirect:
			if !bytes.HasPrefix(b, m.Raw) {
				t.Fatal("not a prefix")
			}
		case mls.PaddingPrefixed:
			if !bytes.HasPrefix(b[4:], m.Raw) {
				t.Fatal("not behind the length")
			}
		}
		checkSlice(t, b, m.Raw)
		if again, err := mls.ParseMessage(m.Raw); err != nil || again.Format != m.Format {
			t.Fatalf("what was found does not parse by itself: %v", err)
		}
		if fr := m.Framing(); fr != nil {
			state := mls.GroupState{GroupID: mls.GroupIDFromBytes(fr.GroupID), Epoch: fr.Epoch, Suite: 1}
			if s, err := mls.ReadSendForTest(b, fr.Epoch, 0, state); err == nil && s.Content != fr.ContentType {
				t.Fatal("content type lost")
			}
		}
	})
}
