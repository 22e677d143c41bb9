package mls

import (
	"crypto/subtle"
	"encoding/binary"
)

// ParentNode is an inner node of a ratchet tree (RFC 9420 7.1).
type ParentNode struct {
	// Raw is the encoded node.
	Raw           []byte
	EncryptionKey []byte
	ParentHash    []byte
	// UnmergedLeaves holds 32-bit leaf indices as they stand on the wire.
	UnmergedLeaves []byte
}

// TreeNode is a node of a ratchet tree. Both pointers are nil for a blank one.
type TreeNode struct {
	Leaf   *LeafNode
	Parent *ParentNode
}

// RatchetTree is a group's tree as the ratchet_tree extension carries it: leaf L
// at node 2L, without the blank nodes at the right end (RFC 9420 12.4.3.3).
type RatchetTree struct {
	Nodes []TreeNode
	at    int
}

// ParseRatchetTree reads the data of a ratchet_tree extension and nothing behind
// it. The error is a *WireError.
func ParseRatchetTree(b []byte) (*RatchetTree, error) {
	var f failure
	r := newReader(b, &f)
	t := readRatchetTree(&r)
	r.finish()
	if err := r.err(); err != nil {
		return nil, err
	}
	return &t, nil
}

func readRatchetTree(r *reader) (t RatchetTree) {
	t.at = r.at()
	last := t.at
	for v := r.vector(); v.more(); {
		last = v.at()
		if len(t.Nodes) == maxTreeNodes {
			v.refuse(CodeTooLarge, last)
		}
		var n TreeNode
		if v.optional() {
			n = readTreeNode(&v, len(t.Nodes)%2 == 0)
		}
		if v.ok() {
			t.Nodes = append(t.Nodes, n)
		}
	}
	if n := len(t.Nodes); n == 0 || t.Nodes[n-1] == (TreeNode{}) {
		r.refuse(CodeBadTree, last)
	}
	return t
}

// readTreeNode reads a node that must be a leaf at an even position and a parent at an odd one.
func readTreeNode(r *reader, leaf bool) (n TreeNode) {
	at := r.at()
	switch r.u8() {
	case 1:
		n.Leaf = new(readLeafNode(r))
	case 2:
		start := r.at()
		p := ParentNode{EncryptionKey: r.opaque(0), ParentHash: r.opaque(255), UnmergedLeaves: r.uints(4, maxTreeNodes)}
		p.Raw = r.since(start)
		n.Parent = &p
	default:
		r.refuse(CodeUnsupportedContent, at)
		return TreeNode{}
	}
	if r.ok() && leaf != (n.Leaf != nil) {
		r.refuse(CodeBadTree, at)
	}
	return n
}

// Leaf returns the leaf of an index, nil for a blank one or one beyond the tree.
func (t *RatchetTree) Leaf(index uint32) *LeafNode {
	if i := 2 * uint64(index); i < uint64(len(t.Nodes)) {
		return t.Nodes[i].Leaf
	}
	return nil
}

// Leaves returns how many leaves the tree has, blank ones at the right end not counted.
func (t *RatchetTree) Leaves() uint32 { return uint32(len(t.Nodes)+1) / 2 } //nolint:gosec // at most maxTreeNodes

// Hash returns the tree hash (RFC 9420 7.8) by the hash of a known suite.
func (t *RatchetTree) Hash(suite CipherSuite) []byte {
	// The leaves that are there fill the left part of a perfect tree of depth d.
	d := 0
	for 1<<(d+1)-1 < len(t.Nodes) {
		d++
	}
	return t.nodeHash(suite, 1<<d-1, d)
}

// nodeHash hashes the subtree under the node at an index and a height. The depth
// of the recursion is that of the tree, at most 14.
func (t *RatchetTree) nodeHash(suite CipherSuite, index, height int) []byte {
	var n TreeNode
	if index < len(t.Nodes) {
		n = t.Nodes[index]
	}
	h := suite.newHash()
	if height == 0 {
		var head [6]byte
		head[0] = 1
		binary.BigEndian.PutUint32(head[1:], uint32(index/2)) //nolint:gosec // at most 2*maxTreeNodes
		if n.Leaf == nil {
			h.Write(head[:])
			return h.Sum(nil)
		}
		head[5] = 1
		h.Write(head[:])
		h.Write(n.Leaf.Raw)
		return h.Sum(nil)
	}
	half := 1 << (height - 1)
	left := t.nodeHash(suite, index-half, height-1)
	right := t.nodeHash(suite, index+half, height-1)
	if n.Parent == nil {
		h.Write([]byte{2, 0})
	} else {
		h.Write([]byte{2, 1})
		h.Write(n.Parent.Raw)
	}
	writeVector(h, left)
	writeVector(h, right)
	return h.Sum(nil)
}

// Verify checks the tree against the context of its group: its hash, and the
// signatures of all its leaves, each of which costs about as much as one of a message. The
// error is a *WireError.
func (t *RatchetTree) Verify(c *GroupContext) error {
	if !c.Suite.Known() {
		return &WireError{CodeUnsupportedSuite, t.at}
	}
	if subtle.ConstantTimeCompare(t.Hash(c.Suite), c.TreeHash) != 1 {
		return &WireError{CodeTreeHash, t.at}
	}
	for i := range t.Leaves() {
		if l := t.Leaf(i); l != nil {
			if err := l.Verify(c.Suite, c.GroupID, i, true); err != nil {
				return err
			}
		}
	}
	return nil
}
