package mlstest

import (
	"slices"

	"mls-server/internal/mls"
)

// block is a node of a tree by what is under it: size leaves from first on. A leaf is a
// block of one.
type block struct{ first, size uint32 }

func (b block) halves() (left, right block) {
	half := b.size / 2
	return block{b.first, half}, block{b.first + half, half}
}

func (b block) holds(leaf uint32) bool { return b.first <= leaf && leaf < b.first+b.size }

// inner is a parent node.
type inner struct {
	key, hash []byte
	unmerged  []uint32
}

func (p *inner) encode(without []uint32) []byte {
	var e encoder
	e.vec(p.key)
	e.vec(p.hash)
	e.list(func(e *encoder) {
		for _, l := range p.unmerged {
			if !slices.Contains(without, l) {
				e.u32(l)
			}
		}
	})
	return e
}

// rangeTree is a ratchet tree (RFC 9420 7), written down by the definitions and without any
// cleverness, so that package mls has something to differ from.
type rangeTree struct {
	suite   mls.CipherSuite
	leaves  [][]byte // encoded LeafNodes, nil for blank ones; a power of two of them
	parents map[block]*inner
}

func (t *rangeTree) clone() *rangeTree {
	next := &rangeTree{suite: t.suite, leaves: slices.Clone(t.leaves), parents: make(map[block]*inner, len(t.parents))}
	for b, p := range t.parents {
		copied := *p
		copied.unmerged = slices.Clone(p.unmerged)
		next.parents[b] = &copied
	}
	return next
}

func (t *rangeTree) root() block { return block{0, uint32(len(t.leaves))} } //nolint:gosec // small

// above are the blocks over a leaf, the root first.
func (t *rangeTree) above(leaf uint32) (path []block) {
	for b := t.root(); b.size > 1; {
		path = append(path, b)
		left, right := b.halves()
		if b = right; left.holds(leaf) {
			b = left
		}
	}
	return path
}

// other is the half of a block that a leaf is not in.
func (b block) other(leaf uint32) block {
	left, right := b.halves()
	if left.holds(leaf) {
		return right
	}
	return left
}

func (t *rangeTree) blankAbove(leaf uint32) {
	for _, b := range t.above(leaf) {
		delete(t.parents, b)
	}
}

func (t *rangeTree) remove(leaf uint32) {
	t.blankAbove(leaf)
	t.leaves[leaf] = nil
}

func (t *rangeTree) shrink() {
	for n := len(t.leaves); n > 1 && !slices.ContainsFunc(t.leaves[n/2:], func(l []byte) bool { return l != nil }); n /= 2 {
		delete(t.parents, t.root())
		t.leaves = t.leaves[:n/2]
	}
}

// place finds the leftmost blank leaf, in a tree of twice the size where there is none.
func (t *rangeTree) place(leaf []byte) uint32 {
	at := slices.IndexFunc(t.leaves, func(l []byte) bool { return l == nil })
	if at < 0 {
		at = len(t.leaves)
		t.leaves = append(t.leaves, make([][]byte, max(at, 1))...)
	}
	t.leaves[at] = leaf
	return uint32(at) //nolint:gosec // small
}

func (t *rangeTree) add(leaf []byte) uint32 {
	at := t.place(leaf)
	for _, b := range t.above(at) {
		if p := t.parents[b]; p != nil {
			p.unmerged = append(p.unmerged, at)
			slices.Sort(p.unmerged)
		}
	}
	return at
}

// cover is the resolution of a block: how many keys reach everybody under it, the leaves
// in skip not counted.
func (t *rangeTree) cover(b block, skip []uint32) int {
	switch p := t.parents[b]; {
	case b.size == 1:
		if t.leaves[b.first] == nil || slices.Contains(skip, b.first) {
			return 0
		}
		return 1
	case p != nil:
		n := 1
		for _, l := range p.unmerged {
			if !slices.Contains(skip, l) {
				n++
			}
		}
		return n
	}
	left, right := b.halves()
	return t.cover(left, skip) + t.cover(right, skip)
}

// hash is the tree hash of a block as it was before some leaves joined.
func (t *rangeTree) hash(b block, without []uint32) []byte {
	var e encoder
	if b.size == 1 {
		e.u8(1)
		e.u32(b.first)
		if l := t.leaves[b.first]; l == nil || slices.Contains(without, b.first) {
			e.u8(0)
		} else {
			e.u8(1)
			e.raw(l)
		}
	} else {
		e.u8(2)
		if p := t.parents[b]; p == nil {
			e.u8(0)
		} else {
			e.u8(1)
			e.raw(p.encode(without))
		}
		left, right := b.halves()
		e.vec(t.hash(left, without))
		e.vec(t.hash(right, without))
	}
	return sum(t.suite, e)
}

// renew gives the blocks over a leaf new keys, those of an UpdatePath, and returns them from
// the leaf up with the parent hash that the leaf must carry.
func (t *rangeTree) renew(leaf uint32) (path []block, parentHash []byte) {
	all := t.above(leaf)
	t.blankAbove(leaf)
	for _, b := range all {
		if t.cover(b.other(leaf), nil) == 0 {
			continue
		}
		p := &inner{key: newKEMKey(t.suite), hash: parentHash}
		t.parents[b] = p
		path = append(path, b)
		var e encoder
		e.vec(p.key)
		e.vec(p.hash)
		e.vec(t.hash(b.other(leaf), nil))
		parentHash = sum(t.suite, e)
	}
	slices.Reverse(path)
	return path, parentHash
}

// encode is the tree as the ratchet_tree extension carries it.
func (t *rangeTree) encode() []byte {
	nodes := t.nodes(nil, t.root())
	for len(nodes) > 0 && nodes[len(nodes)-1] == nil {
		nodes = nodes[:len(nodes)-1]
	}
	var e encoder
	e.list(func(e *encoder) {
		for i, n := range nodes {
			if n == nil {
				e.u8(0)
				continue
			}
			e.u8(1)
			e.u8(uint8(1 + i%2))
			e.raw(n)
		}
	})
	return e
}

func (t *rangeTree) nodes(to [][]byte, b block) [][]byte {
	if b.size == 1 {
		return append(to, t.leaves[b.first])
	}
	left, right := b.halves()
	to = t.nodes(to, left)
	if p := t.parents[b]; p != nil {
		to = append(to, p.encode(nil))
	} else {
		to = append(to, nil)
	}
	return t.nodes(to, right)
}
