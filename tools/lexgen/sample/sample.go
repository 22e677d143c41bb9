// Package sample makes an example of a value that satisfies its schema, always
// the same one for the same schema, as readable JSON.
package sample

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/rivo/uniseg"
	"mls-server/lexrt"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// JSON returns an indented example of a value of the type.
func JSON(t *ir.Type) string { return visible(Indent(string(new(maker).value("", t)))) }

// visible escapes what cannot be seen: such characters stand in strings only.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r != '\n' && lexicon.Unprintable(r) {
			fmt.Fprintf(&b, "\\u%04x", r)
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// Indent formats JSON text with two spaces.
func Indent(text string) string {
	v := jsontext.Value(text)
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return text
	}
	return string(v)
}

// Query returns an example of a query string with its required and its most
// telling optional parameters, without a question mark; "" when there are none.
func Query(s *ir.Struct) string {
	if s == nil {
		return ""
	}
	var parts []string
	m := &maker{}
	for _, f := range s.Fields {
		if !f.Required && f.Name != "limit" {
			continue
		}
		t := f.Type
		if t.Kind == ir.Array {
			n := m.count(t.Schema)
			for range max(n, 1) {
				parts = append(parts, escape(f.Name)+"="+m.param(f.Name, t.Elem))
			}
			continue
		}
		parts = append(parts, escape(f.Name)+"="+m.param(f.Name, t))
	}
	return strings.Join(parts, "&")
}

func (m *maker) param(name string, t *ir.Type) string {
	text := string(m.value(name, t))
	if unquoted, err := jsontext.AppendUnquote(nil, text); err == nil {
		text = string(unquoted)
	}
	return escape(text)
}

// escape is URL escaping that leaves colons, which stand in every DID, readable.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~:/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// maker makes one example.
type maker struct {
	open  map[*ir.Struct]bool
	depth int
	// dids counts accounts, so that lists of them do not repeat one.
	dids int
}

func (m *maker) value(name string, t *ir.Type) []byte {
	switch t.Kind {
	case ir.Bool:
		return []byte(strconv.FormatBool(boolean(t.Schema)))
	case ir.Int:
		return strconv.AppendInt(nil, integer(t.Schema), 10)
	case ir.String:
		return quote(m.text(name, t.Schema))
	case ir.Bytes:
		return m.bytes(t.Schema)
	case ir.CID:
		return []byte(`{"$link":"` + cid + `"}`)
	case ir.Blob:
		return m.blob(t.Schema)
	case ir.Unknown, ir.Raw:
		return []byte(`{}`)
	case ir.Array:
		return m.array(name, t.Schema, t.Elem)
	case ir.SliceKind:
		return m.array(name, t.Schema, t.Slice.Elem)
	case ir.StructKind:
		return m.object(t.Struct, "")
	case ir.UnionKind:
		return m.union(t.Union)
	}
	return []byte("null")
}

func quote(s string) []byte {
	out, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return []byte(`""`)
	}
	return out
}

const cid = "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"

func boolean(s lexicon.Schema) bool {
	b, ok := s.(*lexicon.Boolean)
	switch {
	case !ok:
		return true
	case b.Const != nil:
		return *b.Const
	case b.Default != nil:
		return *b.Default
	}
	return true
}

func integer(s lexicon.Schema) int64 {
	i, ok := s.(*lexicon.Integer)
	switch {
	case !ok:
		return 7
	case i.Const != nil:
		return *i.Const
	case i.Default != nil:
		return *i.Default
	case len(i.Enum) > 0:
		return i.Enum[0]
	}
	n := int64(7)
	if i.Minimum != nil {
		n = max(n, *i.Minimum)
	}
	if i.Maximum != nil {
		n = min(n, *i.Maximum)
	}
	return n
}

// bounds are the limits of a length around the wanted one.
func bounds(want int, low, high *int64) int {
	if low != nil && int64(want) < *low {
		want = int(*low)
	}
	if high != nil && int64(want) > *high {
		want = int(*high)
	}
	return want
}

func (m *maker) bytes(s lexicon.Schema) []byte {
	n := 24
	if b, ok := s.(*lexicon.Bytes); ok {
		n = bounds(n, b.MinLength, b.MaxLength)
	}
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(i * 37 % 256)
	}
	return []byte(`{"$bytes":"` + base64.RawStdEncoding.EncodeToString(data) + `"}`)
}

func (m *maker) blob(s lexicon.Schema) []byte {
	mime, size := "image/png", int64(1024)
	if b, ok := s.(*lexicon.Blob); ok {
		if len(b.Accept) > 0 {
			typ, sub, _ := strings.Cut(b.Accept[0], "/")
			switch {
			case typ == "*":
			case sub == "*" && typ != "image":
				mime = typ + "/example"
			case sub != "*":
				mime = b.Accept[0]
			}
		}
		if b.MaxSize != nil {
			size = min(size, *b.MaxSize)
		}
	}
	return []byte(`{"$type":"blob","ref":{"$link":"` + "bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy" + `"},"mimeType":` + string(quote(mime)) + `,"size":` + strconv.FormatInt(size, 10) + `}`)
}

// count is how many items an example of an array has.
func (m *maker) count(s lexicon.Schema) int {
	if a, ok := s.(*lexicon.Array); ok {
		return bounds(1, a.MinLength, a.MaxLength)
	}
	return 1
}

func (m *maker) array(name string, s lexicon.Schema, elem *ir.Type) []byte {
	n := m.count(s)
	if elem.Kind == ir.StructKind && m.open[elem.Struct] && n == 1 {
		a, ok := s.(*lexicon.Array)
		if ok && (a.MinLength == nil || *a.MinLength == 0) {
			n = 0
		}
	}
	out := []byte{'['}
	for i := range n {
		if i > 0 {
			out = append(out, ',')
		}
		out = append(out, m.value(singular(name), elem)...)
	}
	return append(out, ']')
}

func singular(name string) string {
	if name != "dids" && len(name) > 1 && !strings.HasSuffix(name, "ss") {
		return strings.TrimSuffix(name, "s")
	}
	return strings.TrimSuffix(name, "s")
}

// deepest is the nesting below which optional fields are left out.
const deepest = 4

func (m *maker) object(s *ir.Struct, typ string) []byte {
	if m.open == nil {
		m.open = map[*ir.Struct]bool{}
	}
	inside := m.open[s]
	m.open[s] = true
	m.depth++
	defer func() {
		m.depth--
		if !inside {
			delete(m.open, s)
		}
	}()
	out := []byte{'{'}
	if typ == "" && s.Role == ir.RoleRecord {
		typ = s.TypeName
	}
	if typ != "" {
		out = append(append(out, `"$type":`...), quote(typ)...)
	}
	for _, f := range s.Fields {
		if !f.Required && (inside || m.depth > deepest || recursive(f.Type, m.open)) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(out, quote(f.Name)...), ':')
		if f.Nullable && (inside || recursive(f.Type, m.open)) {
			out = append(out, "null"...)
			continue
		}
		out = append(out, m.value(f.Name, f.Type)...)
	}
	return append(out, '}')
}

// recursive reports whether the type leads straight back to an open object.
func recursive(t *ir.Type, open map[*ir.Struct]bool) bool {
	switch t.Kind {
	case ir.StructKind:
		return open[t.Struct]
	case ir.Array:
		return recursive(t.Elem, open)
	case ir.SliceKind:
		return t.Slice.Elem.Kind == ir.StructKind && open[t.Slice.Elem.Struct]
	case ir.UnionKind:
		for _, s := range t.Union.Members {
			if !open[s] {
				return false
			}
		}
		return len(t.Union.Members) > 0
	default:
		return false
	}
}

func (m *maker) union(u *ir.Union) []byte {
	for _, s := range u.Members {
		if !m.open[s] {
			return m.object(s, s.TypeName)
		}
	}
	if len(u.Members) > 0 && u.Closed {
		return m.object(u.Members[0], u.Members[0].TypeName)
	}
	return []byte(`{"$type":"com.example.other#thing"}`)
}

func (m *maker) text(name string, s lexicon.Schema) string {
	str, ok := s.(*lexicon.String)
	switch {
	case !ok:
		return "text"
	case str.Const != nil:
		return *str.Const
	case len(str.Enum) > 0:
		return str.Enum[0]
	case str.Default != nil:
		return *str.Default
	}
	var text string
	switch {
	case str.Format == lexrt.FormatURI:
		text = m.uri(name)
	case str.Format != lexrt.FormatNone:
		text = m.format(str.Format)
	case len(str.KnownValues) > 0:
		text = str.KnownValues[0]
	default:
		text = words(name)
	}
	if fits(str, text) || str.Format != lexrt.FormatNone {
		return text
	}
	return fit(str)
}

func fits(s *lexicon.String, text string) bool {
	n := bounds(len(text), s.MinLength, s.MaxLength)
	g := uniseg.GraphemeClusterCount(text)
	return n == len(text) && bounds(g, s.MinGraphemes, s.MaxGraphemes) == g
}

// fit is text of a length that the limits allow: ASCII, so that bytes and characters agree.
func fit(s *lexicon.String) string {
	n := bounds(bounds(12, s.MinLength, s.MaxLength), s.MinGraphemes, s.MaxGraphemes)
	const base = "abcdefghijklmnopqrstuvwxyz"
	return strings.Repeat(base, n/len(base)+1)[:n]
}

func (m *maker) format(f lexrt.Format) string {
	switch f {
	case lexrt.FormatDID:
		dids := []string{"did:plc:ewvi7nxzyoun6zhxrhs64oiz", "did:plc:z72i7hdynmk6r22z27h6tvur", "did:web:alice.example.com"}
		m.dids++
		return dids[(m.dids-1)%len(dids)]
	case lexrt.FormatATIdentifier, lexrt.FormatHandle:
		return "alice.example.com"
	case lexrt.FormatATURI:
		return "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/app.bsky.graph.block/3kzq3vdqyhm2a"
	case lexrt.FormatCID:
		return cid
	case lexrt.FormatDatetime:
		return "2026-01-15T09:30:00.000Z"
	case lexrt.FormatLanguage:
		return "en"
	case lexrt.FormatNSID:
		return "com.example.getThing"
	case lexrt.FormatRecordKey, lexrt.FormatTID:
		return "3kzq3vdqyhm2a"
	case lexrt.FormatURI, lexrt.FormatNone:
	}
	return "text"
}

const uuid = "5f0c6d1e-8a52-4f0b-9d7b-2c4f1e9a7b30"

// uri is a URI that suits the name of a field: of an account's part where it says that it names
// one, else a page.
func (m *maker) uri(name string) string {
	lower := strings.ToLower(name)
	switch {
	case strings.HasSuffix(lower, "did"), lower == "assignedto":
		return m.format(lexrt.FormatDID) + "#" + uuid
	case lower == "endpoint":
		return "wss://api.example.com/xrpc/com.example.subscribe"
	}
	return "https://example.com/thing"
}

// words is a text that suits the name of a field.
func words(name string) string {
	lower := strings.ToLower(name)
	for _, w := range wordsOf {
		if w.is(lower) {
			return w.text
		}
	}
	return "text"
}

// wordsOf has texts by names of fields, in small letters. The first that fits is taken.
var wordsOf = []struct {
	is   func(name string) bool
	text string
}{
	{one("groupid", "convoid"), "9f4c1a77d2e05b3861aa0c5d7e9f2b14"},
	{ends("convos", "convo"), "9f4c1a77d2e05b3861aa0c5d7e9f2b14"},
	{one("msgid", "messageid", "commitid", "deviceid", "deviceuuid", "requestid", "reportid", "replacedeviceid"), uuid},
	{ends("idempotencykey"), "0b8e7c52-6f1d-4d0a-9c3e-58a1f7d2e964"},
	{one("cursor", "sincemessage"), "eyJzIjo0Mn0"},
	{ends("hash", "hashes"), "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"},
	{one("keypackage"), "AAEABQABAAEgV1b0xQk"},
	{starts("welcome"), "AAEAAwABRkAgV1b0xQk"},
	{one("commit", "externalcommit"), "AAEAARCfTBp30uBbOGGqDF"},
	{one("groupinfo"), "AAEABAABAAEQn0wad9LgW"},
	{ends("data"), "AAEAAQABAAE"},
	{one("devicename"), "Alice's phone"},
	{one("description"), "We read a book a month"},
	{one("reason", "notes", "errordetails"), "They posted advertising"},
	{one("version"), "v1.2.3"},
	{one("info"), "The epoch has advanced"},
	{one("ticket"), "3q2-7wEjRWeJq83v"},
	{one("serviceid"), "atproto_mls"},
	{one("class"), "sendMessage"},
	{ends("id"), "3kzq3vdqyhm2a"},
	{ends("name", "title"), "Reading circle"},
	{ends("expiresin"), "23d 4h"},
}

func one(names ...string) func(string) bool {
	return func(name string) bool { return slices.Contains(names, name) }
}

func ends(with ...string) func(string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(with, func(end string) bool { return strings.HasSuffix(name, end) })
	}
}

func starts(with string) func(string) bool {
	return func(name string) bool { return strings.HasPrefix(name, with) }
}
