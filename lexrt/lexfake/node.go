package lexfake

import (
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// node is a JSON value that can be changed in one place without touching the original.
type node struct {
	kind  byte // '{', '[' or 0 for a leaf
	leaf  string
	names []string
	kids  []*node
}

func leaf(text string) *node { return &node{leaf: text} }

func text(s string) *node {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return leaf(`""`)
	}
	return leaf(string(b))
}

func (n *node) set(name string, v *node) {
	n.names = append(n.names, name)
	n.kids = append(n.kids, v)
}

// with returns a copy whose child i is v; a nil v leaves the child out.
func (n *node) with(i int, v *node) *node {
	c := &node{kind: n.kind}
	for j, k := range n.kids {
		if j == i {
			k = v
		}
		if k == nil {
			continue
		}
		if n.kind == '{' {
			c.names = append(c.names, n.names[j])
		}
		c.kids = append(c.kids, k)
	}
	return c
}

func (n *node) append(b []byte) []byte {
	switch n.kind {
	case '{':
		b = append(b, '{')
		for i, k := range n.kids {
			if i > 0 {
				b = append(b, ',')
			}
			b = text(n.names[i]).append(b)
			b = append(b, ':')
			b = k.append(b)
		}
		return append(b, '}')
	case '[':
		b = append(b, '[')
		for i, k := range n.kids {
			if i > 0 {
				b = append(b, ',')
			}
			b = k.append(b)
		}
		return append(b, ']')
	}
	return append(b, n.leaf...)
}

func token(pointer, name string) string {
	return pointer + "/" + strings.ReplaceAll(strings.ReplaceAll(name, "~", "~0"), "/", "~1")
}

func index(pointer string, i int) string { return pointer + "/" + strconv.Itoa(i) }
