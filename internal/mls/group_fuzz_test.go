package mls

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// history is a group's life as a server sees it, made by mls-rs: see interop.
type history struct {
	Objects [][]byte `json:"objects"` // in order, the first a GroupInfo; JSON has base64
}

func readHistory(tb testing.TB) []*Message {
	tb.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "history.json"))
	if err != nil {
		tb.Fatal(err)
	}
	var h history
	if err := json.Unmarshal(raw, &h); err != nil {
		tb.Fatal(err)
	}
	messages := make([]*Message, 0, len(h.Objects))
	for _, b := range h.Objects {
		m, err := ParseMessage(b)
		if err != nil {
			tb.Fatal(err)
		}
		messages = append(messages, m)
	}
	return messages
}

// TestHistory replays a group that mls-rs made: what its members agreed on is what the
// server finds.
func TestHistory(t *testing.T) {
	t.Parallel()
	var g *Group
	var err error
	commits := 0
	pending := map[ProposalRef]*PublicMessage{}
	for i, m := range readHistory(t) {
		switch {
		case g == nil:
			g, err = OpenGroup(m.GroupInfo)
		case m.GroupInfo != nil:
			err = g.Agrees(m.GroupInfo)
		case m.Public != nil && m.Public.ContentType == ContentProposal:
			err = g.CheckProposal(m)
			pending[m.Public.ProposalRef(g.context.Suite)] = m.Public
		case m.Public != nil:
			var tr *Transition
			if tr, err = g.Apply(m, pending); err == nil {
				g = tr.Next
				commits++
			}
		}
		if err != nil {
			t.Fatalf("object %d: %v", i, err)
		}
	}
	if commits < 5 {
		t.Errorf("%d commits, which shows little", commits)
	}
}

// FuzzStep does to a tree what any bytes that read as a commit ask for, as if they were signed:
// nothing may panic, and what comes out is a tree that a new member would accept but for hashes
// that only signatures vouch for.
func FuzzStep(f *testing.F) {
	messages := readHistory(f)
	var groups []*Group
	for _, m := range messages {
		switch {
		case m.GroupInfo != nil:
			g, err := ResumeGroup(m.GroupInfo)
			if err != nil {
				f.Fatal(err)
			}
			groups = append(groups, g)
		case m.Public != nil:
			for i := range groups {
				f.Add(uint8(i), m.Raw)
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		m, err := ParseMessage(b)
		if err != nil || m.Public == nil || m.Public.Commit == nil || m.Public.Opaque {
			return
		}
		g := groups[int(which)%len(groups)]
		if m.Public.SenderType == SenderMember && g.Leaf(m.Public.Sender) == nil {
			return
		}
		if _, code := examine(m, g.state(nil)); code != 0 && code != CodeLeafSignature && code != CodeKeyPackageSignature {
			return
		}
		before := string(g.tree.hash(g.tree.root()))
		s := &step{from: g, message: m.Public, next: g.tree.clone(), context: g.context}
		s.out.Committer, s.out.External = m.Public.Sender, m.Public.SenderType == SenderNewMemberCommit
		for _, do := range [...]func() Code{func() Code { return s.collect(nil) }, s.propose, s.path, s.finish} {
			if do() != 0 {
				return
			}
		}
		if string(g.tree.hash(g.tree.root())) != before {
			t.Fatal("the group that was left has changed")
		}
		next := s.out.Next
		if !next.tree.unmergedOK() {
			t.Fatal("unmerged leaves do not fit")
		}
		if parsed, err := ParseGroupContext(next.context.Raw); err != nil || parsed.Epoch != g.context.Epoch+1 {
			t.Fatalf("the next context does not read: %v", err)
		}
		fresh := newPublicTree(next.context.Suite, next.Tree())
		if string(fresh.hash(fresh.root())) != string(next.context.TreeHash) {
			t.Fatal("a kept hash is stale")
		}
	})
}

// FuzzPublicTree checks any tree that parses, as one that came with a GroupInfo.
func FuzzPublicTree(f *testing.F) {
	for _, m := range readHistory(f) {
		if m.GroupInfo != nil {
			data, _ := m.GroupInfo.Extensions.Find(ExtensionRatchetTree)
			f.Add(data)
		}
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		t, err := ParseRatchetTree(b)
		if err != nil {
			return
		}
		g := &Group{context: GroupContext{Suite: SuiteX25519AES128}, tree: newPublicTree(SuiteX25519AES128, t)}
		_ = g.checkTree()
		g.tree.hash(g.tree.root())
	})
}
