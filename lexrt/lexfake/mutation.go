package lexfake

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"mls-server/lexrt"
)

// Mutation is a value that is valid but for one place.
type Mutation struct {
	// JSON is the whole value.
	JSON []byte
	// Pointer and Rule are what the first issue of a decoder must be.
	Pointer, Rule string
}

// maxMutated bounds the length of values that are made to break an upper limit.
const maxMutated = 1 << 24

// Mutations calls yield with every way of breaking one constraint of a maximal
// value of the named schema, until yield returns false.
func (s Set) Mutations(name string, r *rand.Rand) func(yield func(Mutation) bool) {
	return func(yield func(Mutation) bool) {
		root := s[name]
		m := mutator{maker: maker{set: s, r: r, size: Maximal}, exact: root != nil && root.Record, input: root != nil && root.Input}
		n := m.ref(name, 0)
		if n == nil {
			return
		}
		m.yield = func(pointer, rule string, n *node) bool {
			return yield(Mutation{JSON: n.append(nil), Pointer: pointer, Rule: rule})
		}
		m.mutate(root, n, "", func(n *node) *node { return n })
	}
}

type mutator struct {
	maker
	exact   bool
	input   bool
	stopped bool
	yield   func(pointer, rule string, n *node) bool
}

// rebuild puts a changed part back into the whole value; nil means that the change is allowed
// there.
type rebuild func(*node) *node

func (m *mutator) emit(up rebuild, pointer, rule string, n *node) {
	if m.stopped {
		return
	}
	if whole := up(n); whole != nil {
		m.stopped = !m.yield(pointer, rule, whole)
	}
}

func (m *mutator) mutate(s *Schema, n *node, ptr string, up rebuild) {
	if m.stopped {
		return
	}
	switch s.Kind {
	case Bool:
		m.emit(up, ptr, "type", leaf("7"))
		m.emit(up, ptr, "type", leaf("null"))
		if s.Bool != nil {
			m.emit(up, ptr, "const", leaf(strconv.FormatBool(!s.Bool.Const)))
		}
	case Int:
		m.integer(s.Int, ptr, up)
	case String:
		m.emit(up, ptr, "type", leaf("7"))
		m.emit(up, ptr, "type", leaf("null"))
		if m.input {
			m.emit(up, ptr, "type", leaf(`"a\u0000b"`))
		}
		if s.String != nil {
			m.text(s.String, ptr, up)
		}
	case Bytes:
		m.bytes(s.Bytes, ptr, up)
	case CID:
		m.emit(up, ptr, "type", text("x"))
		m.emit(up, ptr, "type", link("x"))
	case Blob:
		m.blob(s.Blob, ptr, up)
	case Unknown:
		m.emit(up, ptr, "type", leaf("true"))
		m.emit(up, ptr, "type", bytesNode(3))
		m.emit(up, ptr, "type", blobNode(m.cid(), "text/plain", 1))
		m.emit(up, ptr, "type", leaf(`{"a":1.5}`))
		if m.input {
			m.emit(up, ptr, "type", leaf(`{"a":["\u0000"]}`))
		}
	case Array:
		m.array(s, n, ptr, up)
	case Object:
		m.object(s, n, ptr, up)
	case Union:
		m.union(s, n, ptr, up)
	case Ref:
		if target := m.set[s.Name]; target != nil {
			m.mutate(target, n, ptr, up)
		}
	case Raw:
	}
}

func (m *mutator) integer(r *lexrt.IntRule, ptr string, up rebuild) {
	for _, bad := range []string{`"7"`, "1.5", "1e3", "9223372036854775808", "null"} {
		m.emit(up, ptr, "type", leaf(bad))
	}
	if r == nil {
		return
	}
	if r.Enum != nil {
		bad := r.Enum[0]
		for (&lexrt.IntRule{Min: lexrt.MinInt, Max: lexrt.MaxInt, Enum: r.Enum}).Problem(bad) == "" {
			bad++
		}
		m.emit(up, ptr, "enum", leaf(strconv.FormatInt(bad, 10)))
		return
	}
	if r.Min != lexrt.MinInt {
		m.emit(up, ptr, "minimum", leaf(strconv.FormatInt(r.Min-1, 10)))
	}
	if r.Max != lexrt.MaxInt {
		m.emit(up, ptr, "maximum", leaf(strconv.FormatInt(r.Max+1, 10)))
	}
}

func (m *mutator) text(r *lexrt.StringRule, ptr string, up rebuild) {
	if r.Enum != nil {
		m.emit(up, ptr, "enum", text(strings.Join(r.Enum, "")+"!"))
		return
	}
	if r.MinLen > 0 {
		m.emit(up, ptr, "minLength", text(strings.Repeat("a", r.MinLen-1)))
	}
	high := upper(r.MaxLen, maxMutated)
	if r.MaxLen != 0 && high < maxMutated {
		m.emit(up, ptr, "maxLength", text(strings.Repeat("a", high+1)))
	}
	if g := r.MinGraphemes; g > 1 && g > r.MinLen {
		m.emit(up, ptr, "minGraphemes", text(stretch(g-1, r.MinLen)))
	}
	if g := upper(r.MaxGraphemes, maxMutated); r.MaxGraphemes != 0 && g < min(high, maxMutated) {
		m.emit(up, ptr, "maxGraphemes", text(stretch(g+1, r.MinLen)))
	}
	if r.Format != lexrt.FormatNone {
		if bad := strings.Repeat("!", max(1, r.MinLen)); len(bad) <= high {
			m.emit(up, ptr, "format", text(bad))
		}
	}
}

func (m *mutator) bytes(r *lexrt.BytesRule, ptr string, up rebuild) {
	for _, bad := range []string{"7", `{}`, `{"bytes":"YQ"}`, `{"$bytes":"a"}`, `{"$bytes":"YQ","x":1}`} {
		m.emit(up, ptr, "type", leaf(bad))
	}
	if r.Problem(3) == "" {
		m.emit(up, ptr, "type", leaf(`{"$bytes":"YW h"}`))
	}
	if m.exact {
		m.emit(up, ptr, "type", text("YWFh"))
	}
	if r == nil {
		return
	}
	if r.MinLen > 0 {
		m.emit(up, ptr, "minLength", bytesNode(r.MinLen-1))
	}
	if high := upper(r.MaxLen, maxMutated); r.MaxLen != 0 && high < maxMutated {
		m.emit(up, ptr, "maxLength", bytesNode(high+1))
	}
}

func (m *mutator) blob(r *lexrt.BlobRule, ptr string, up rebuild) {
	m.emit(up, ptr, "type", text("x"))
	m.emit(up, ptr, "type", leaf(`{"$type":"blob","mimeType":"text/plain","size":1}`))
	if r == nil {
		return
	}
	mime := m.maker.blob(&lexrt.BlobRule{Accept: r.Accept}).kids[2].leaf
	mime, _ = strconv.Unquote(mime)
	if r.MaxSize > 0 {
		m.emit(up, ptr, "maxSize", blobNode(m.cid(), mime, r.MaxSize+1))
	}
	if len(r.Accept) > 0 && !strings.Contains(strings.Join(r.Accept, " "), "*/*") {
		m.emit(up, ptr, "accept", blobNode(m.cid(), "x-none/x-none", 1))
	}
}

func (m *mutator) array(s *Schema, n *node, ptr string, up rebuild) {
	m.emit(up, ptr, "type", leaf(`{}`))
	if r := s.Array; r != nil && len(n.kids) > 0 {
		if r.MinLen > 0 {
			m.emit(up, ptr, "minLength", repeat(n.kids[0], r.MinLen-1))
		}
		if high := upper(r.MaxLen, maxMutated); r.MaxLen != 0 && high < maxMutated/64 {
			m.emit(up, ptr, "maxLength", repeat(n.kids[0], high+1))
		}
	}
	if len(n.kids) > 0 {
		last := len(n.kids) - 1
		m.mutate(s.Items, n.kids[last], index(ptr, last), func(v *node) *node { return up(n.with(last, v)) })
	}
}

func repeat(item *node, times int) *node {
	n := &node{kind: '['}
	for range times {
		n.kids = append(n.kids, item)
	}
	return n
}

func (m *mutator) object(s *Schema, n *node, ptr string, up rebuild) {
	m.emit(up, ptr, "type", leaf("7"))
	m.members(s, n, ptr, up)
}

func (m *mutator) members(s *Schema, n *node, ptr string, up rebuild) {
	props := map[string]*Prop{}
	for i := range s.Props {
		props[s.Props[i].Name] = &s.Props[i]
	}
	for i, name := range n.names {
		p := props[name]
		if p == nil {
			if s.Record && name == "$type" {
				m.emit(up, token(ptr, "$type"), "required", n.with(i, nil))
				m.emit(up, token(ptr, "$type"), "const", n.with(i, text(s.TypeName+"#main")))
			}
			continue
		}
		if p.Required {
			m.emit(up, token(ptr, name), "required", n.with(i, nil))
		}
		lenient := !m.exact && !p.Required || p.Nullable
		m.mutate(p.Schema, n.kids[i], token(ptr, name), func(v *node) *node {
			if lenient && v.kind == 0 && v.leaf == "null" {
				return nil
			}
			return up(n.with(i, v))
		})
	}
}

func (m *mutator) union(s *Schema, n *node, ptr string, up rebuild) {
	m.emit(up, ptr, "type", text("x"))
	m.emit(up, token(ptr, "$type"), "required", leaf(`{"x":1}`))
	if s.Closed {
		m.emit(up, token(ptr, "$type"), "refs", leaf(`{"$type":"example.unknown.type#thing"}`))
	}
	for _, name := range s.Members {
		member := m.set[name]
		if member == nil || len(n.kids) == 0 || n.kids[0].leaf != text(member.TypeName).leaf {
			continue
		}
		m.members(&Schema{Kind: Object, Props: member.Props}, n, ptr, up)
	}
}
