package mls

import (
	"encoding/binary"
	"slices"
	"sort"
)

// publicTree is a ratchet tree that commits change: all nodes of a perfect binary
// tree, blank ones included, and the hashes of those subtrees that did not change since
// they were computed. Nodes are shared between the trees of two epochs and never written to.
type publicTree struct {
	suite  CipherSuite
	nodes  []TreeNode
	hashes [][]byte // nil where the subtree changed
}

// newPublicTree spreads a tree out to its full width.
func newPublicTree(suite CipherSuite, t *RatchetTree) *publicTree {
	width := 1
	for width < len(t.Nodes) {
		width = 2*width + 1
	}
	p := &publicTree{suite: suite, nodes: make([]TreeNode, width), hashes: make([][]byte, width)}
	copy(p.nodes, t.Nodes)
	return p
}

func (t *publicTree) clone() *publicTree {
	return &publicTree{suite: t.suite, nodes: slices.Clone(t.nodes), hashes: slices.Clone(t.hashes)}
}

// ratchetTree is the tree as the ratchet_tree extension carries it.
func (t *publicTree) ratchetTree() *RatchetTree {
	n := len(t.nodes)
	for n > 0 && t.nodes[n-1] == (TreeNode{}) {
		n--
	}
	return &RatchetTree{Nodes: t.nodes[:n:n]}
}

func (t *publicTree) root() int { return len(t.nodes) / 2 }

func (t *publicTree) leaf(index uint32) *LeafNode {
	if i := 2 * uint64(index); i < uint64(len(t.nodes)) {
		return t.nodes[i].Leaf
	}
	return nil
}

func (t *publicTree) leafCount() uint32 { return uint32(len(t.nodes)+1) / 2 } //nolint:gosec // at most maxTreeNodes

func (t *publicTree) blank(x int) bool { return t.nodes[x] == TreeNode{} }

// set replaces a node; the hashes above it are computed anew.
func (t *publicTree) set(x int, n TreeNode) {
	t.nodes[x] = n
	t.hashes[x] = nil
	for x != t.root() {
		x = parentOf(x)
		t.hashes[x] = nil
	}
}

// directPath returns the ancestors of a node, the root last (RFC 9420 4.2).
func (t *publicTree) directPath(x int) []int {
	var path []int
	for x != t.root() {
		x = parentOf(x)
		path = append(path, x)
	}
	return path
}

// blankPath blanks the ancestors of a leaf.
func (t *publicTree) blankPath(leaf uint32) {
	for _, x := range t.directPath(int(2 * leaf)) {
		t.set(x, TreeNode{})
	}
}

// update puts a leaf in the place of another one (RFC 9420 12.1.2).
func (t *publicTree) update(index uint32, l *LeafNode) {
	t.blankPath(index)
	t.set(int(2*index), TreeNode{Leaf: l})
}

// remove blanks a leaf and its ancestors (RFC 9420 12.1.3).
func (t *publicTree) remove(index uint32) {
	t.blankPath(index)
	t.set(int(2*index), TreeNode{})
}

// truncate drops the right half of the tree while no leaf is in it (RFC 9420 7.7).
func (t *publicTree) truncate() {
	for t.root() > 0 && !slices.ContainsFunc(t.nodes[t.root()+1:], func(n TreeNode) bool { return n.Leaf != nil }) {
		t.nodes, t.hashes = t.nodes[:t.root()], t.hashes[:t.root()]
	}
}

// add puts a leaf into the leftmost blank place, in a tree of twice the size where there
// is none, and returns its index (RFC 9420 12.1.1). Its ancestors learn of it as an unmerged leaf.
func (t *publicTree) add(l *LeafNode) uint32 {
	index := t.place(l)
	for _, x := range t.directPath(int(2 * index)) {
		if p := t.nodes[x].Parent; p != nil {
			t.set(x, TreeNode{Parent: p.withUnmerged(index)})
		}
	}
	return index
}

// place puts a leaf into the leftmost blank place and leaves its ancestors as they are.
func (t *publicTree) place(l *LeafNode) uint32 {
	for i := range t.leafCount() {
		if t.leaf(i) == nil {
			t.set(int(2*i), TreeNode{Leaf: l})
			return i
		}
	}
	index := t.leafCount()
	wider := make([]TreeNode, 2*len(t.nodes)+1)
	copy(wider, t.nodes)
	hashes := make([][]byte, len(wider))
	copy(hashes, t.hashes)
	t.nodes, t.hashes = wider, hashes
	t.set(int(2*index), TreeNode{Leaf: l})
	return index
}

// resolution returns the nodes that cover the leaves under x (RFC 9420 4.1.1).
func (t *publicTree) resolution(x int) []int { return t.appendResolution(nil, x) }

func (t *publicTree) appendResolution(to []int, x int) []int {
	switch n := t.nodes[x]; {
	case n.Leaf != nil:
		return append(to, x)
	case n.Parent != nil:
		to = append(to, x)
		for leaf := range n.Parent.unmerged() {
			to = append(to, int(2*leaf))
		}
		return to
	case level(x) == 0:
		return to
	}
	return t.appendResolution(t.appendResolution(to, left(x)), right(x))
}

// empty reports whether the resolution of x is empty.
func (t *publicTree) empty(x int) bool {
	if level(x) == 0 || !t.blank(x) {
		return t.blank(x)
	}
	return t.empty(left(x)) && t.empty(right(x))
}

// filteredPath returns the ancestors of a leaf that an UpdatePath has a node for: those
// whose other child covers somebody (RFC 9420 4.2).
func (t *publicTree) filteredPath(leaf uint32) []int {
	var path []int
	child := int(2 * leaf)
	for _, x := range t.directPath(child) {
		if !t.empty(siblingOf(child)) {
			path = append(path, x)
		}
		child = x
	}
	return path
}

// unmerged yields the leaves that joined below the node and do not know its secret.
func (p *ParentNode) unmerged() func(yield func(uint32) bool) {
	return func(yield func(uint32) bool) {
		for i := 0; i+4 <= len(p.UnmergedLeaves); i += 4 {
			if !yield(binary.BigEndian.Uint32(p.UnmergedLeaves[i:])) {
				return
			}
		}
	}
}

// hasUnmerged looks for a leaf in the list, which is in ascending order.
func (p *ParentNode) hasUnmerged(leaf uint32) bool {
	n := len(p.UnmergedLeaves) / 4
	at := sort.Search(n, func(i int) bool { return binary.BigEndian.Uint32(p.UnmergedLeaves[4*i:]) >= leaf })
	return at < n && binary.BigEndian.Uint32(p.UnmergedLeaves[4*at:]) == leaf
}

// withUnmerged returns the node with one more unmerged leaf, in ascending order.
func (p *ParentNode) withUnmerged(leaf uint32) *ParentNode {
	list := make([]byte, 0, len(p.UnmergedLeaves)+4)
	added := false
	for other := range p.unmerged() {
		if !added && other > leaf {
			list, added = binary.BigEndian.AppendUint32(list, leaf), true
		}
		list = binary.BigEndian.AppendUint32(list, other)
	}
	if !added {
		list = binary.BigEndian.AppendUint32(list, leaf)
	}
	return newParentNode(p.EncryptionKey, p.ParentHash, list)
}

// newParentNode encodes a parent node (RFC 9420 7.1).
func newParentNode(key, parentHash, unmerged []byte) *ParentNode {
	raw := make([]byte, 0, len(key)+len(parentHash)+len(unmerged)+12)
	for _, v := range [...][]byte{key, parentHash, unmerged} {
		raw = append(appendLength(raw, len(v)), v...)
	}
	return &ParentNode{Raw: raw, EncryptionKey: key, ParentHash: parentHash, UnmergedLeaves: unmerged}
}
