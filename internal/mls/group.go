package mls

import (
	"bytes"
	"encoding/binary"
	"iter"
)

// Group is the public state of a group in one epoch: what a member without keys knows
// (RFC 9420 8). It does not change; Apply returns the next one.
type Group struct {
	context GroupContext
	tree    *publicTree
	// interim is the interim transcript hash (RFC 9420 8.2).
	interim []byte
	tag     []byte // the confirmation tag of the commit that led here
}

// OpenGroup checks a GroupInfo and its tree as a new member does (RFC 9420 12.4.3.1): tree hash,
// parent hashes, unmerged leaves, all leaves and their signatures, keys that no two nodes share,
// and the signer's signature. The tree must be in the GroupInfo. The error is a *WireError.
func OpenGroup(info *GroupInfo) (*Group, error) {
	if err := info.Verify(nil); err != nil {
		return nil, err
	}
	g := resume(info)
	if code := g.checkTree(); code != 0 {
		return nil, &WireError{code, info.Tree.at}
	}
	return g, nil
}

// ResumeGroup is OpenGroup for a GroupInfo that has been checked before: no signature is
// verified and no hash compared. The error is a *WireError.
func ResumeGroup(info *GroupInfo) (*Group, error) {
	switch {
	case !info.Context.Suite.Known():
		return nil, &WireError{CodeUnsupportedSuite, info.at}
	case info.Tree == nil:
		return nil, &WireError{CodeMissingTree, info.at}
	}
	return resume(info), nil
}

func resume(info *GroupInfo) *Group {
	c := info.Context
	return &Group{
		context: c, tree: newPublicTree(c.Suite, info.Tree), tag: info.ConfirmationTag,
		interim: interimHash(c.Suite, c.ConfirmedTranscriptHash, info.ConfirmationTag),
	}
}

// Context returns the GroupContext of the epoch.
func (g *Group) Context() *GroupContext { return &g.context }

// Tree returns the ratchet tree of the epoch.
func (g *Group) Tree() *RatchetTree { return g.tree.ratchetTree() }

// ConfirmationTag returns the tag of the commit that led to the epoch.
func (g *Group) ConfirmationTag() []byte { return g.tag }

// Leaf returns the leaf of an index, nil for a blank one or one beyond the tree.
func (g *Group) Leaf(index uint32) *LeafNode { return g.tree.leaf(index) }

// Leaves yields the members' leaf indices and leaves in ascending order.
func (g *Group) Leaves() iter.Seq2[uint32, *LeafNode] {
	return func(yield func(uint32, *LeafNode) bool) {
		for i := range g.tree.leafCount() {
			if l := g.tree.leaf(i); l != nil && !yield(i, l) {
				return
			}
		}
	}
}

// Agrees checks that a GroupInfo describes this epoch and no other: its GroupContext, confirmation
// tag and tree are byte for byte this group's, it carries external_pub, and the member at the
// signer's leaf signed it. The error is a *WireError: TreeHashMismatch, TranscriptMismatch,
// GroupInfoMismatch, MissingTree, MissingExternalPub or GroupInfoSignature.
func (g *Group) Agrees(info *GroupInfo) error {
	if code := g.disagreement(info); code != 0 {
		return &WireError{code, info.at}
	}
	return nil
}

func (g *Group) disagreement(info *GroupInfo) Code {
	c := &info.Context
	switch {
	case !bytes.Equal(c.GroupID, g.context.GroupID):
		return CodeWrongGroup
	case c.Epoch != g.context.Epoch:
		return CodeWrongEpoch
	case !bytes.Equal(c.TreeHash, g.context.TreeHash):
		return CodeTreeHashMismatch
	case !bytes.Equal(c.ConfirmedTranscriptHash, g.context.ConfirmedTranscriptHash):
		return CodeTranscriptMismatch
	case !bytes.Equal(c.Raw, g.context.Raw), !bytes.Equal(info.ConfirmationTag, g.tag):
		return CodeGroupInfoMismatch
	case info.Tree == nil:
		return CodeMissingTree
	case !info.Tree.equal(g.tree.ratchetTree()):
		return CodeTreeHashMismatch
	case info.ExternalPub == nil:
		return CodeMissingExternalPub
	}
	if l := g.Leaf(info.Signer); l == nil || !info.VerifySignature(l.SignatureKey) {
		return CodeGroupInfoSignature
	}
	return 0
}

// equal compares two trees node by node.
func (t *RatchetTree) equal(other *RatchetTree) bool {
	if len(t.Nodes) != len(other.Nodes) {
		return false
	}
	for i := range t.Nodes {
		if !bytes.Equal(t.Nodes[i].raw(), other.Nodes[i].raw()) || (t.Nodes[i].Leaf == nil) != (other.Nodes[i].Leaf == nil) {
			return false
		}
	}
	return true
}

// raw is the encoded node, nil for a blank one.
func (n TreeNode) raw() []byte {
	switch {
	case n.Leaf != nil:
		return n.Leaf.Raw
	case n.Parent != nil:
		return n.Parent.Raw
	}
	return nil
}

// interimHash is the interim transcript hash behind a commit (RFC 9420 8.2).
func interimHash(s CipherSuite, confirmed, tag []byte) []byte {
	h := s.newHash()
	h.Write(confirmed)
	writeVector(h, tag)
	return h.Sum(nil)
}

// confirmedHash takes a commit into the transcript (RFC 9420 8.2).
func confirmedHash(s CipherSuite, interim []byte, m *PublicMessage) []byte {
	h := s.newHash()
	h.Write(interim)
	h.Write([]byte{0, byte(FormatPublicMessage)})
	h.Write(m.content)
	writeVector(h, m.Signature)
	return h.Sum(nil)
}

// newGroupContext encodes a GroupContext (RFC 9420 8.1).
func newGroupContext(c GroupContext) GroupContext {
	raw := binary.BigEndian.AppendUint16(nil, Version)
	raw = binary.BigEndian.AppendUint16(raw, uint16(c.Suite))
	raw = append(appendLength(raw, len(c.GroupID)), c.GroupID...)
	raw = binary.BigEndian.AppendUint64(raw, uint64(c.Epoch)) //nolint:gosec // epochs are not negative
	raw = append(appendLength(raw, len(c.TreeHash)), c.TreeHash...)
	raw = append(appendLength(raw, len(c.ConfirmedTranscriptHash)), c.ConfirmedTranscriptHash...)
	c.Raw = appendExtensions(raw, c.Extensions)
	return c
}

func appendExtensions(to []byte, list Extensions) []byte {
	var all []byte
	for _, e := range list {
		all = binary.BigEndian.AppendUint16(all, uint16(e.Type))
		all = append(appendLength(all, len(e.Data)), e.Data...)
	}
	return append(appendLength(to, len(all)), all...)
}
