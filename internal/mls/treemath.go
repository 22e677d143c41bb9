package mls

import "math/bits"

// The arithmetic of a perfect binary tree in an array (RFC 9420 appendix C): leaf L is
// node 2L, and the level of a node is the number of one bits at its right end.

func level(x int) int { return bits.TrailingZeros(^uint(x)) }

func left(x int) int { return x ^ 1<<(level(x)-1) }

func right(x int) int { return x ^ 3<<(level(x)-1) }

func parentOf(x int) int {
	k := level(x)
	return (x | 1<<k) &^ (1 << (k + 1))
}

// siblingOf is the other child of x's parent.
func siblingOf(x int) int {
	p := parentOf(x)
	if x < p {
		return right(p)
	}
	return left(p)
}

// span returns the first and the last leaf under x, as leaf indices.
func span(x int) (first, last uint32) {
	half := 1<<level(x) - 1
	return uint32((x - half) / 2), uint32((x + half) / 2) //nolint:gosec // at most maxTreeNodes
}

// under reports whether a leaf is under x.
func under(leaf uint32, x int) bool {
	first, last := span(x)
	return first <= leaf && leaf <= last
}
