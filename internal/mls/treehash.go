package mls

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// hash returns the tree hash of the subtree under x (RFC 9420 7.8) and keeps it.
func (t *publicTree) hash(x int) []byte {
	if t.hashes[x] == nil {
		t.hashes[x] = t.hashWithout(x, nil)
	}
	return t.hashes[x]
}

// hashWithout is hash as it was before some leaves joined (RFC 9420 7.9, the original
// sibling tree hash). The leaves are in ascending order.
func (t *publicTree) hashWithout(x int, leaves []uint32) []byte {
	first, last := span(x)
	leaves = between(leaves, first, last)
	if len(leaves) == 0 && t.hashes[x] != nil {
		return t.hashes[x]
	}
	h := t.suite.newHash()
	n := t.nodes[x]
	if level(x) == 0 {
		var head [6]byte
		head[0] = 1
		binary.BigEndian.PutUint32(head[1:], first)
		if n.Leaf != nil && len(leaves) == 0 {
			head[5] = 1
			h.Write(head[:])
			h.Write(n.Leaf.Raw)
		} else {
			h.Write(head[:])
		}
		return h.Sum(nil)
	}
	if n.Parent == nil {
		h.Write([]byte{2, 0})
	} else {
		h.Write([]byte{2, 1})
		h.Write(n.Parent.without(leaves).Raw)
	}
	child := t.hash
	if len(leaves) > 0 {
		child = func(y int) []byte { return t.hashWithout(y, leaves) }
	}
	writeVector(h, child(left(x)))
	writeVector(h, child(right(x)))
	return h.Sum(nil)
}

// between cuts out of a list in ascending order what lies from first to last.
func between(leaves []uint32, first, last uint32) []uint32 {
	from, _ := slices.BinarySearch(leaves, first)
	to, found := slices.BinarySearch(leaves, last)
	if found {
		to++
	}
	return leaves[from:max(from, to)]
}

// without returns the node as it was before some leaves joined.
func (p *ParentNode) without(leaves []uint32) *ParentNode {
	if len(leaves) == 0 || len(p.UnmergedLeaves) == 0 {
		return p
	}
	var kept []byte
	for leaf := range p.unmerged() {
		if _, out := slices.BinarySearch(leaves, leaf); !out {
			kept = binary.BigEndian.AppendUint32(kept, leaf)
		}
	}
	return newParentNode(p.EncryptionKey, p.ParentHash, kept)
}

// parentHash is the hash by which a node below x refers to it; sibling is the child of
// x that the node is not under (RFC 9420 7.9).
func (t *publicTree) parentHash(x, sibling int) []byte {
	p := t.nodes[x].Parent
	h := t.suite.newHash()
	writeVector(h, p.EncryptionKey)
	writeVector(h, p.ParentHash)
	writeVector(h, t.hashWithout(sibling, slices.Collect(p.unmerged())))
	return h.Sum(nil)
}

// chained reports whether every parent node was set together with a node below it, by
// the same UpdatePath (RFC 9420 7.9.2). checkUnmerged comes first.
func (t *publicTree) chained() bool {
	for x := 1; x < len(t.nodes); x += 2 {
		if t.nodes[x].Parent != nil && !t.chainedBelow(x, left(x), right(x)) && !t.chainedBelow(x, right(x), left(x)) {
			return false
		}
	}
	return true
}

// chainedBelow reports whether a node of the resolution of x's child has x's parent hash,
// and the rest of that resolution are leaves that joined later.
func (t *publicTree) chainedBelow(x, child, sibling int) bool {
	resolution := t.resolution(child)
	joined := 0
	for leaf := range t.nodes[x].Parent.unmerged() {
		if under(leaf, child) {
			joined++
		}
	}
	if len(resolution) != joined+1 {
		return false
	}
	want := t.parentHash(x, sibling)
	for _, d := range resolution {
		var have []byte
		switch n := t.nodes[d]; {
		case n.Parent != nil:
			have = n.Parent.ParentHash
		case n.Leaf.Source == LeafCommit:
			have = n.Leaf.ParentHash
		}
		if bytes.Equal(have, want) && t.othersJoined(x, d, resolution) {
			return true
		}
	}
	return false
}

// othersJoined reports whether all nodes of a resolution but d are unmerged leaves of x.
func (t *publicTree) othersJoined(x, d int, resolution []int) bool {
	for _, y := range resolution {
		if y != d && (level(y) != 0 || !t.nodes[x].Parent.hasUnmerged(uint32(y/2))) { //nolint:gosec // at most maxTreeNodes
			return false
		}
	}
	return true
}

// unmergedOK checks the lists of unmerged leaves: ascending, of leaves below the node that
// are there, and known to every node between (RFC 9420 12.4.3.1).
func (t *publicTree) unmergedOK() bool {
	for x := 1; x < len(t.nodes); x += 2 {
		p := t.nodes[x].Parent
		if p == nil {
			continue
		}
		previous := int64(-1)
		for leaf := range p.unmerged() {
			if int64(leaf) <= previous || !under(leaf, x) || t.leaf(leaf) == nil || !t.knownBetween(leaf, x) {
				return false
			}
			previous = int64(leaf)
		}
	}
	return true
}

func (t *publicTree) knownBetween(leaf uint32, x int) bool {
	for y := parentOf(int(2 * leaf)); y != x; y = parentOf(y) {
		if p := t.nodes[y].Parent; p != nil && !p.hasUnmerged(leaf) {
			return false
		}
	}
	return true
}
