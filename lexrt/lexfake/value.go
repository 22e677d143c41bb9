package lexfake

import (
	"encoding/base64"
	"math/rand/v2"
	"strconv"
	"strings"

	"mls-server/lexrt"
)

const (
	// maxText and maxItems bound what Maximal and Random make of large limits.
	maxText  = 4096
	maxItems = 12
	// maxDepth is where values stop growing, hardDepth where a schema is taken to have no finite
	// value.
	maxDepth  = 4
	hardDepth = 14
)

// Value returns a valid value of the named schema, or nil when the schema is not
// in the set or no finite value satisfies it.
func (s Set) Value(name string, r *rand.Rand, size Size) []byte {
	m := maker{set: s, r: r, size: size}
	n := m.ref(name, 0)
	if n == nil {
		return nil
	}
	return n.append(nil)
}

type maker struct {
	set  Set
	r    *rand.Rand
	size Size
	// record says that the value is a record or within one.
	record bool
}

func (m *maker) ref(name string, depth int) *node {
	s := m.set[name]
	if s == nil {
		return nil
	}
	return m.value(s, depth)
}

// pick is a size between low and high, both included.
func (m *maker) pick(low, high int) int {
	high = max(low, high)
	switch m.size {
	case Minimal:
		return low
	case Maximal:
		return high
	case Random:
	}
	return low + m.r.IntN(high-low+1)
}

func (m *maker) value(s *Schema, depth int) *node {
	if depth > hardDepth {
		return nil
	}
	switch s.Kind {
	case Bool:
		b := m.r.IntN(2) == 0
		if s.Bool != nil {
			b = s.Bool.Const
		}
		return leaf(strconv.FormatBool(b))
	case Int:
		return leaf(strconv.FormatInt(m.integer(s.Int), 10))
	case String:
		return text(m.text(s.String))
	case Bytes:
		low, high := 0, 64
		if s.Bytes != nil {
			low = s.Bytes.MinLen
			high = min(upper(s.Bytes.MaxLen, max(64, low)), max(maxText, low))
		}
		return bytesNode(m.pick(low, high))
	case CID:
		return link(m.cid())
	case Blob:
		return m.blob(s.Blob)
	case Unknown:
		o := &node{kind: '{'}
		if m.size != Minimal {
			o.set("a", leaf("1"))
			o.set("b", text("é\n\""))
		}
		return o
	case Raw:
		return leaf(`{"x":[true,null,"y"]}`)
	case Array:
		return m.array(s, depth)
	case Object:
		return m.object(s, depth, false)
	case Union:
		return m.union(s, depth)
	case Ref:
		return m.ref(s.Name, depth)
	}
	return nil
}

// upper is a rule's limit, or def when it has none.
func upper(limit, def int) int {
	switch limit {
	case 0:
		return def
	case lexrt.Zero:
		return 0
	}
	return limit
}

func (m *maker) integer(r *lexrt.IntRule) int64 {
	if r == nil {
		switch m.size {
		case Minimal:
			return lexrt.MinInt
		case Maximal:
			return lexrt.MaxInt
		case Random:
		}
		return m.r.Int64() - m.r.Int64()
	}
	if r.Enum != nil {
		return r.Enum[m.r.IntN(len(r.Enum))]
	}
	switch m.size {
	case Minimal:
		return r.Min
	case Maximal:
		return r.Max
	case Random:
	}
	span := uint64(r.Max) - uint64(r.Min) //nolint:gosec // the difference of two's complements wraps to the right span
	if span == 0 {
		return r.Min
	}
	return int64(uint64(r.Min) + m.r.Uint64N(span)) //nolint:gosec // as above
}

var samples = map[lexrt.Format][]string{
	lexrt.FormatATIdentifier: {"did:plc:ewvi7nxzyoun6zhxrhs64oiz", "alice.example.com"},
	lexrt.FormatATURI:        {"at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/com.example.note/3kznmn7xqxl22", "at://alice.example.com"},
	lexrt.FormatCID:          {"bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"},
	lexrt.FormatDatetime:     {"2026-11-20T10:00:00Z", "1985-04-12T23:20:50.123Z"},
	lexrt.FormatDID:          {"did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:web:example.com"},
	lexrt.FormatHandle:       {"alice.example.com", "bob.test"},
	lexrt.FormatLanguage:     {"en", "pt-BR"},
	lexrt.FormatNSID:         {"com.example.getThing", "blue.example.note"},
	lexrt.FormatRecordKey:    {"self", "3kznmn7xqxl22"},
	lexrt.FormatTID:          {"3kznmn7xqxl22"},
	lexrt.FormatURI:          {"https://example.com/a?b=c#d", "at://alice.example.com"},
}

func (m *maker) text(r *lexrt.StringRule) string {
	if r == nil {
		return [...]string{"", "text", "é \"quoted\" \\ \n \u2028 🏳️‍🌈"}[m.pick(0, 2)]
	}
	if r.Enum != nil {
		return r.Enum[m.r.IntN(len(r.Enum))]
	}
	if list := samples[r.Format]; list != nil {
		for range 8 {
			if s := list[m.r.IntN(len(list))]; r.Problem(s) == "" {
				return s
			}
		}
		return list[0]
	}
	low := max(r.MinLen, r.MinGraphemes)
	if r.MaxGraphemes != 0 {
		low = max(r.MinGraphemes, min(low, upper(r.MaxGraphemes, 0)))
	}
	high := min(upper(r.MaxLen, max(low, 32)), upper(r.MaxGraphemes, max(low, maxText)), max(maxText, low))
	return stretch(m.pick(low, high), r.MinLen)
}

// stretch has the given number of graphemes and at least minLen bytes: a
// combining accent adds two bytes and no grapheme.
func stretch(graphemes, minLen int) string {
	s := strings.Repeat("a", graphemes)
	if graphemes > 0 && len(s) < minLen {
		s += strings.Repeat("\u0301", (minLen-len(s)+1)/2)
	}
	return s
}

func bytesNode(n int) *node {
	raw := make([]byte, n)
	for i := range raw {
		raw[i] = byte((i*7 + n) & 0xff)
	}
	o := &node{kind: '{'}
	o.set("$bytes", text(base64.RawStdEncoding.EncodeToString(raw)))
	return o
}

func (m *maker) cid() string { return samples[lexrt.FormatCID][0] }

func link(cid string) *node {
	o := &node{kind: '{'}
	o.set("$link", text(cid))
	return o
}

func (m *maker) blob(r *lexrt.BlobRule) *node {
	mime, size := "text/plain", int64(1)
	if r != nil {
		if len(r.Accept) > 0 {
			mime = r.Accept[m.r.IntN(len(r.Accept))]
			if mime == "*/*" {
				mime = "text/plain"
			}
			mime = strings.Replace(mime, "*", "plain", 1)
		}
		if r.MaxSize > 0 && m.size == Maximal {
			size = r.MaxSize
		}
	}
	return blobNode(m.cid(), mime, size)
}

func blobNode(cid, mime string, size int64) *node {
	o := &node{kind: '{'}
	o.set("$type", text("blob"))
	o.set("ref", link(cid))
	o.set("mimeType", text(mime))
	o.set("size", leaf(strconv.FormatInt(size, 10)))
	return o
}

func (m *maker) array(s *Schema, depth int) *node {
	low, high := 0, 3
	if s.Array != nil {
		low = s.Array.MinLen
		high = max(low, min(upper(s.Array.MaxLen, max(3, low)), maxItems))
	}
	if depth >= maxDepth {
		high = low
	}
	n := &node{kind: '['}
	for range m.pick(low, high) {
		item := m.value(s.Items, depth+1)
		if item == nil {
			if len(n.kids) < low {
				return nil
			}
			break
		}
		n.kids = append(n.kids, item)
	}
	return n
}

func (m *maker) object(s *Schema, depth int, typed bool) *node {
	n := &node{kind: '{'}
	if s.Record || typed {
		n.set("$type", text(s.TypeName))
	}
	within := m.record
	m.record = m.record || s.Record
	defer func() { m.record = within }()
	for _, p := range s.Props {
		if !p.Required {
			skip := m.size == Minimal || m.size == Random && m.r.IntN(3) == 0
			if skip || depth >= maxDepth && p.Schema.Kind >= Array {
				continue
			}
		}
		if p.Nullable && m.size == Random && m.r.IntN(2) == 0 {
			n.set(p.Name, leaf("null"))
			continue
		}
		v := m.value(p.Schema, depth+1)
		switch {
		case v != nil:
			n.set(p.Name, v)
		case p.Nullable:
			n.set(p.Name, leaf("null"))
		case p.Required:
			return nil
		}
	}
	if s.Keeps && m.record && m.size != Minimal {
		n.set("from a newer program", leaf(`{"a":[1,null,{"$type":"x.y.z"}],"b":"\u00e9\n"}`))
	}
	return n
}

func (m *maker) union(s *Schema, depth int) *node {
	if len(s.Members) > 0 && (depth < maxDepth || s.Closed) {
		start := m.r.IntN(len(s.Members))
		for i := range s.Members {
			if member := m.set[s.Members[(start+i)%len(s.Members)]]; member != nil {
				if n := m.object(member, depth+1, true); n != nil {
					return n
				}
			}
		}
	}
	if s.Closed {
		return nil
	}
	n := &node{kind: '{'}
	n.set("$type", text("example.unknown.type#thing"))
	n.set("x", leaf(`{"y":[1,"z",null]}`))
	return n
}
