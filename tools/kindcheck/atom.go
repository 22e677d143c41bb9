package main

import (
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/tools/go/ssa"
)

// An atom is one thing that a value may be or hold: a kind of error and where it was named, a
// function with what it has captured, or a place in memory.
type atom struct {
	// kind is the name of a constant of type Kind, for example "ErrNotMember", and pos where it
	// stands.
	kind string
	pos  token.Pos
	// fn is a function value and captured what its free variables are.
	fn       *ssa.Function
	captured []set
	// place is memory: an allocation, a global, a field of any value of a type, or a part of one of
	// those.
	place *place
}

// atomKey is what tells the kinds among atoms apart.
type atomKey struct {
	kind string
	pos  token.Pos
}

// A place is memory that values are written to and read from.
type place struct {
	id     int32
	typ    types.Type
	depth  int // of the context that it was made in
	parent *place
	parts  map[int]*place
	// holds is all that was ever written to it as a whole.
	holds set
}

// A set is sorted numbers of atoms.
type set []int32

func (s set) key() string {
	var b strings.Builder
	for _, id := range s {
		b.WriteString(strconv.FormatInt(int64(id), 36))
		b.WriteByte(',')
	}
	return b.String()
}

func (s set) has(id int32) bool {
	_, found := slices.BinarySearch(s, id)
	return found
}

// union returns the elements of both, and a itself when b adds nothing.
func union(a, b set) set {
	if len(b) == 0 || len(a) == len(b) && slices.Equal(a, b) {
		return a
	}
	if len(a) == 0 {
		return b
	}
	out := make(set, 0, len(a)+len(b))
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case a[i] < b[j]:
			out = append(out, a[i])
			i++
		case a[i] > b[j]:
			out = append(out, b[j])
			j++
		default:
			out = append(out, a[i])
			i++
			j++
		}
	}
	out = append(append(out, a[i:]...), b[j:]...)
	if len(out) == len(a) {
		return a
	}
	return out
}

// atoms numbers atoms, equal ones alike.
type atoms struct {
	all   []atom
	index map[string]int32
}

func (t *atoms) number(key string, a atom) int32 {
	if id, ok := t.index[key]; ok {
		return id
	}
	id := int32(len(t.all)) //nolint:gosec // memory ends first
	t.index[key] = id
	t.all = append(t.all, a)
	return id
}

func (t *atoms) kind(name string, pos token.Pos) set {
	return set{t.number("k"+name+"@"+strconv.Itoa(int(pos)), atom{kind: name, pos: pos})}
}

func (t *atoms) function(id int, fn *ssa.Function, captured []set) set {
	key := "f" + strconv.Itoa(id)
	for _, c := range captured {
		key += "|" + c.key()
	}
	return set{t.number(key, atom{fn: fn, captured: captured})}
}

// place returns the place of the key, made when it is new.
func (t *atoms) place(key string, typ types.Type, parent *place) *place {
	id := t.number("p"+key, atom{})
	if t.all[id].place == nil {
		t.all[id].place = &place{id: id, typ: typ, parent: parent}
	}
	return t.all[id].place
}

// part returns the part of a place with the index, made when it is new. Beyond a depth one place
// stands for all of a type, so that the parts of recursive types have an end.
func (t *atoms) part(p *place, index int, typ types.Type) *place {
	depth := 0
	for q := p; q.parent != nil; q = q.parent {
		depth++
	}
	if depth >= 4 {
		return t.place("deep "+types.TypeString(typ, nil), typ, nil)
	}
	if p.parts == nil {
		p.parts = map[int]*place{}
	}
	if p.parts[index] == nil {
		p.parts[index] = t.place(strconv.Itoa(int(p.id))+"."+strconv.Itoa(index), typ, p)
		p.parts[index].depth = p.depth
	}
	return p.parts[index]
}

// read is what a place may hold: what was written to it, to what it is part of, and to its parts.
func (t *atoms) read(p *place) set {
	out := p.holds
	for q := p.parent; q != nil; q = q.parent {
		out = union(out, q.holds)
	}
	return union(out, p.below())
}

func (p *place) below() (out set) {
	for _, part := range p.parts {
		out = union(out, union(part.holds, part.below()))
	}
	return out
}

// places are those among the atoms.
func (t *atoms) places(s set) (out []*place) {
	for _, id := range s {
		if p := t.all[id].place; p != nil {
			out = append(out, p)
		}
	}
	return out
}
