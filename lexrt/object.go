package lexrt

import (
	"bytes"
	"math"
	"strconv"
)

// Struct is a member that is an object of a generated type.
func Struct(f *Fields, name string, v Lexer, p Presence) {
	if f.enter(name, p, false) {
		StructValue(f, v)
		f.leave()
	}
}

// StructPtr is Struct for a field that may be nil.
func StructPtr[T any, P LexerOf[T]](f *Fields, name string, v **T, p Presence) {
	if t := pointed(f, name, v, p); t != nil {
		StructValue(f, P(t))
		f.leave()
	}
}

// StructValue is an object of a generated type that is not a member.
func StructValue(f *Fields, v Lexer) {
	switch f.mode {
	case encoding:
		outer := f.object.typed
		f.object.typed = false
		f.out = append(f.out, '{')
		v.Lex(f)
		f.out = closeObject(f.out)
		f.object.typed = outer
	case decoding:
		f.decodeObject(v, false)
	case checking:
		f.push()
		v.Lex(f)
		f.pop()
	case missing, keeping, readingQuery, writingQuery:
	}
}

// decodeObject reads the next value into v. Members in the order in which Lex
// names them are read in one run of it; any other order takes more runs, at most
// one more than there are members.
func (f *Fields) decodeObject(v Lexer, typed bool) {
	if !f.open('{', "an object") {
		return
	}
	outer := f.object
	f.object = object{typed: typed, record: outer.record, far: len(f.far)}
	f.push()
	f.advance()
	for {
		hits := f.object.hits
		f.object.index = 0
		v.Lex(f)
		f.object.again = true
		if f.object.to == 0 {
			break
		}
		if f.object.hits == hits { // none of v's members
			if f.object.keeps {
				f.mode = keeping
				v.Lex(f)
				f.mode = decoding
			}
			f.heed()
			f.skip()
			f.advance()
		}
	}
	if !f.complete() {
		f.mode, f.object.index = missing, 0
		v.Lex(f)
		f.mode = decoding
	}
	f.pop()
	f.far = f.far[:f.object.far]
	f.object = outer
}

// Type is the $type member of a record. It stands first in Lex.
func (f *Fields) Type(want string) {
	f.object.record = true
	if f.object.typed && (f.mode == encoding || f.mode == decoding || f.mode == missing) {
		if f.mode == decoding {
			f.mark(f.object.index)
		}
		f.object.index++
		return
	}
	if f.mode == checking || f.mode == keeping || !f.enter("$type", Required, false) {
		return
	}
	switch f.mode {
	case encoding:
		f.out = append(AppendString(f.out, &want), ',')
	case decoding:
		if f.text[f.at] != '"' {
			f.mismatch("the string " + strconv.Quote(want))
		} else if string(f.string()) != want {
			f.fault(fault{"const", "must be " + strconv.Quote(want)})
		}
		f.leave()
	case missing, keeping, checking, readingQuery, writingQuery:
	}
}

// Array is a member that is an array and satisfies r; the function deals with each item.
func Array[S ~[]T, T any](f *Fields, name string, v *S, p Presence, r *ArrayRule, item func(f *Fields, v *T)) {
	if f.mode == readingQuery {
		readParams(f, name, v, p, r, item)
		return
	}
	if f.enter(name, p, *v == nil && p != Required) {
		ArrayValue(f, v, r, item)
		f.leave()
	}
}

// List is a member that is a named array, which the function deals with.
func List[S ~[]T, T any](f *Fields, name string, v *S, p Presence, value func(f *Fields, v *S)) {
	if f.enter(name, p, *v == nil && p != Required) {
		value(f, v)
		f.leave()
	}
}

// Strings is an array of strings; each satisfies the second rule.
func Strings[S ~[]T, T ~string](f *Fields, name string, v *S, p Presence, r *ArrayRule, each *StringRule) {
	Array(f, name, v, p, r, func(f *Fields, s *T) { StringValue(f, s, each) })
}

// Structs is an array of objects of a generated type.
func Structs[S ~[]T, T any, P LexerOf[T]](f *Fields, name string, v *S, p Presence, r *ArrayRule) {
	if f.mode == encoding && *v != nil {
		f.out = append(appendName(f.out, name, 0), '[')
		outer := f.object.typed
		for i := range *v {
			f.object.typed = false
			f.out = append(f.out, '{')
			P(&(*v)[i]).Lex(f)
			f.out = append(closeObject(f.out), ',')
		}
		f.object.typed = outer
		f.out = closeArray(f.out)
		return
	}
	Array(f, name, v, p, r, func(f *Fields, t *T) { StructValue(f, P(t)) })
}

// Unions is an array of members of a union.
func Unions[S ~[]T, T any](f *Fields, name string, v *S, p Presence, r *ArrayRule, u *Union[T]) {
	Array(f, name, v, p, r, func(f *Fields, t *T) { UnionValue(f, t, u) })
}

// ArrayValue is an array that is not a member.
func ArrayValue[S ~[]T, T any](f *Fields, v *S, r *ArrayRule, item func(f *Fields, v *T)) {
	switch f.mode {
	case encoding:
		f.out = append(f.out, '[')
		for i := range *v {
			if i > 0 {
				f.out = append(f.out, ',')
			}
			item(f, &(*v)[i])
		}
		f.out = append(f.out, ']')
	case decoding:
		decodeArray(f, v, r, item)
	case checking:
		f.fault(r.check(len(*v)))
		f.push()
		for i := range *v {
			f.place[len(f.place)-1] = segment{"", i}
			item(f, &(*v)[i])
		}
		f.pop()
	case writingQuery:
		for i := range *v {
			item(f, &(*v)[i])
		}
	case missing, keeping, readingQuery:
	}
}

// decodeArray reads an array. Items beyond the limit are neither kept nor decoded.
func decodeArray[S ~[]T, T any](f *Fields, v *S, r *ArrayRule, item func(f *Fields, v *T)) {
	if !f.open('[', "an array") {
		return
	}
	has := f.sound.items(f.at - 1)
	most := math.MaxInt
	if r != nil && r.MaxLen != 0 {
		most = limit(r.MaxLen)
	}
	out, n := S{}, 0
	if has > 0 {
		out = make(S, 0, min(has, most))
	}
	f.push()
	for ; f.item(n); n++ {
		if n >= most {
			f.skip()
			continue
		}
		var zero T
		out = append(out, zero)
		item(f, &out[n])
	}
	f.pop()
	*v = out
	f.fault(r.check(n))
}

// Union describes the union type U.
type Union[U any] struct {
	// Variants are the members, each with its $type.
	Variants []Variant[U]
	// Unknown makes a member of an open union of what has another $type; nil for a closed one.
	Unknown func(RawUnion) U
}

// Variant is a member of a union.
type Variant[U any] struct {
	// Type is the member's $type.
	Type string
	// New returns a new zero value, which is a Typed.
	New func() U
}

// Typed is what members of unions implement: their $type is LexType's.
type Typed interface {
	Lexer
	LexType() string
}

// UnionMember is a member of an object whose value is one of a union.
func UnionMember[U any](f *Fields, name string, v *U, p Presence, u *Union[U]) {
	if f.enter(name, p, any(*v) == nil) {
		UnionValue(f, v, u)
		f.leave()
	}
}

// UnionValue is a value of a union that is not a member of an object. The JSON null
// stands for nil in what is encoded; checking refuses it.
func UnionValue[U any](f *Fields, v *U, u *Union[U]) {
	switch f.mode {
	case encoding:
		f.encodeVariant(any(*v))
	case decoding:
		typ := f.variantType()
		if typ == nil {
			f.skip()
			return
		}
		for i := range u.Variants {
			if string(typ) == u.Variants[i].Type {
				*v = u.Variants[i].New()
				f.decodeVariant(any(*v))
				return
			}
		}
		if u.Unknown == nil {
			f.faultAt("$type", fault{"refs", oneOf(u.types())})
			f.skip()
			return
		}
		name := string(typ)
		*v = u.Unknown(RawUnion{Type: name, JSON: f.unknownVariant()})
	case checking:
		f.checkVariant(any(*v))
	case missing, keeping, readingQuery, writingQuery:
	}
}

func (u *Union[U]) types() []string {
	out := make([]string, len(u.Variants))
	for i := range u.Variants {
		out[i] = strconv.Quote(u.Variants[i].Type)
	}
	return out
}

// rawMember is what the type for unknown members of open unions is made of.
type rawMember interface{ rawUnion() *RawUnion }

func (f *Fields) encodeVariant(v any) {
	switch m := v.(type) {
	case Typed:
		f.encodeTyped(m)
	case rawMember:
		f.out = m.rawUnion().AppendJSON(f.out)
	default:
		f.out = append(f.out, "null"...)
	}
}

// encodeTyped encodes an object with its $type first.
func (f *Fields) encodeTyped(v Typed) {
	typ := v.LexType()
	outer := f.object.typed
	f.object.typed = true
	f.out = append(f.out, `{"$type":`...)
	f.out = append(AppendString(f.out, &typ), ',')
	v.Lex(f)
	f.out = closeObject(f.out)
	f.object.typed = outer
}

func (f *Fields) decodeVariant(v any) {
	if m, ok := v.(Lexer); ok {
		f.unions++
		f.decodeObject(m, true)
		f.unions--
	}
}

func (f *Fields) unknownVariant() Raw {
	raw := f.raw()
	if problem := checkObject(raw); problem != "" {
		f.typeFault(problem)
	}
	var kept Raw
	f.keepRaw(&kept, raw)
	return kept
}

func (f *Fields) checkVariant(v any) {
	switch m := v.(type) {
	case Lexer:
		StructValue(f, m)
	case rawMember:
		f.checkRawUnion(m.rawUnion())
	default:
		f.fault(fault{"required", "is required"})
	}
}

func (f *Fields) checkRawUnion(u *RawUnion) {
	raw, ok := f.checkRaw(u.JSON)
	if !ok {
		return
	}
	if raw.Kind() != '{' {
		f.typeFault("must be an object")
		return
	}
	for key, value := range members(raw) {
		if typ, ok := unquote(value); key == "$type" && ok && typ == u.Type && typ != "" {
			if problem := checkObject(raw); problem != "" {
				f.typeFault(problem)
			}
			return
		}
	}
	f.typeFault("must be an object with the $type that its Type names")
}

// maxUnionDepth bounds how deep unions may be nested in a value, since the way to
// a $type that comes last is gone twice on each level.
const maxUnionDepth = 64

// variantType finds the $type of the object that comes next, without reading it.
// It returns nil when it has reported why there is none.
func (f *Fields) variantType() []byte {
	if f.text[f.at] != '{' {
		expected := "must be an object"
		if f.text[f.at] == 'n' {
			expected += ", not null"
		}
		f.typeFault(expected)
		return nil
	}
	if f.unions == maxUnionDepth {
		f.typeFault("must not be nested more than " + strconv.Itoa(maxUnionDepth) + " unions deep")
		return nil
	}
	typ := f.lookAhead("$type")
	if len(typ) < 2 || typ[0] != '"' || typ[1] == '"' {
		f.faultAt("$type", fault{"required", "is required and names a type"})
		return nil
	}
	if bytes.IndexByte(typ, '\\') < 0 {
		return typ[1 : len(typ)-1]
	}
	s, _ := unquote(typ)
	return []byte(s)
}

// lookAhead finds a member of the object that comes next.
func (f *Fields) lookAhead(name string) []byte {
	at := f.at + 1
	for {
		at = passSpace(f.text, at)
		switch f.text[at] {
		case ',':
			at = passSpace(f.text, at+1)
		case '}':
			return nil
		}
		end, escaped := stringEnd(f.text, at)
		key := f.text[at+1 : end-1]
		if escaped {
			key = canonical(f.text[at:end])
		}
		at = passSpace(f.text, passSpace(f.text, end)+1)
		stop := valueEnd(f.text, at)
		if string(key) == name {
			return f.text[at:stop]
		}
		at = stop
	}
}
