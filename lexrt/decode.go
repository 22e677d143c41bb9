package lexrt

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// maxIssues bounds what one refused value can make us store and send back.
const maxIssues = 100

// Decoder reads one JSON value for generated code. It is strict about JSON
// (duplicate members, invalid UTF-8 and trailing data are refused) and collects
// every violation of the schema with its JSON pointer.
//
// A Decoder is made by NewDecoder or NewRecordDecoder and released by Done; it
// must not be used afterwards. It is used by one goroutine.
type Decoder struct {
	json   *jsontext.Decoder
	reader bytes.Buffer
	root   *Decoder
	parent *Decoder
	typ    string
	raw    []byte
	name   []byte
	issues []Issue
	depth  int
	failed bool
	record bool
	owned  bool // raw may be overwritten, and kept
}

var decoders = sync.Pool{New: func() any { return &Decoder{json: jsontext.NewDecoder(&bytes.Buffer{})} }}

func newDecoder(src []byte) *Decoder {
	d, ok := decoders.Get().(*Decoder)
	if !ok {
		d = &Decoder{json: jsontext.NewDecoder(&bytes.Buffer{})}
	}
	d.root = d
	d.raw = src
	d.start()
	return d
}

func (d *Decoder) start() {
	d.reader = *bytes.NewBuffer(d.raw)
	d.json.Reset(&d.reader)
}

// NewDecoder starts decoding src as a request or an answer: null is accepted for
// an optional member and bytes may be a bare base64 string. It does not keep src
// beyond Done.
func NewDecoder(src []byte) *Decoder {
	return newDecoder(src)
}

// NewRecordDecoder starts decoding src as a record, under the exact rules of the
// atproto data model: null only where the schema says nullable, bytes only as
// {"$bytes": …}. Stray bits in the last base64 character are accepted, as the
// reference implementations do, because a record is re-encoded before it is signed.
func NewRecordDecoder(src []byte) *Decoder {
	d := newDecoder(src)
	d.record = true
	return d
}

// Done checks that nothing follows the value and returns an *InvalidError that
// lists all issues, or nil. What names the checked part, for example "body".
func (d *Decoder) Done(what string) error {
	if !d.failed {
		if _, err := d.json.ReadToken(); !errors.Is(err, io.EOF) {
			d.issue("", "json", "must not be followed by more data")
		}
	}
	issues := d.issues
	d.issues = nil
	d.release()
	if len(issues) == 0 {
		return nil
	}
	return &InvalidError{What: what, Issues: issues}
}

func (d *Decoder) release() {
	// The JSON decoder must not hold on to the caller's bytes while it is in the pool.
	d.reader = bytes.Buffer{}
	d.json.Reset(&d.reader)
	*d = Decoder{json: d.json, name: d.name[:0]}
	decoders.Put(d)
}

func (d *Decoder) base() string {
	if d.parent == nil {
		return ""
	}
	return d.parent.base() + string(d.parent.json.StackPointer())
}

func (d *Decoder) issue(pointer, rule, problem string) {
	root := d.root
	if len(root.issues) < maxIssues {
		root.issues = append(root.issues, Issue{Pointer: d.base() + pointer, Rule: rule, Problem: problem})
	}
}

// fault reports what is wrong with the value that was read last.
func (d *Decoder) fault(f fault) {
	if f.text != "" && !d.failed {
		d.issue(string(d.json.StackPointer()), f.rule, f.text)
	}
}

func (d *Decoder) typeFault(problem string) { d.fault(fault{"type", problem}) }

// fatal records an error of the JSON syntax; nothing can be read after it.
func (d *Decoder) fatal(err error) {
	if d.failed {
		return
	}
	for e := d; e != nil; e = e.parent {
		e.failed = true
	}
	pointer, problem := string(d.json.StackPointer()), "is not valid JSON"
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		pointer = string(syntactic.JSONPointer)
		problem += " (byte " + strconv.FormatInt(syntactic.ByteOffset, 10) + ")"
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		problem = "is a duplicate member"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		problem = "is not valid JSON: it ends too early"
	}
	d.issue(pointer, "json", problem)
}

// value reads the next value, valid until the next read, or nil after an error.
func (d *Decoder) value() jsontext.Value {
	v, err := d.json.ReadValue()
	if err != nil {
		d.fatal(err)
		return nil
	}
	return v
}

// Skip reads the next value and drops it. Its JSON syntax is checked all the same.
func (d *Decoder) Skip() {
	if d.failed {
		return
	}
	if err := d.json.SkipValue(); err != nil {
		d.fatal(err)
	}
}

// mismatch skips a value of the wrong JSON type and reports what was expected.
func (d *Decoder) mismatch(expected string) {
	null := d.json.PeekKind() == 'n'
	d.Skip()
	if null {
		expected += ", not null"
	}
	d.typeFault("must be " + expected)
}

func (d *Decoder) open(kind jsontext.Kind, expected string) bool {
	if d.failed {
		return false
	}
	if d.json.PeekKind() != kind {
		d.mismatch(expected)
		return false
	}
	if _, err := d.json.ReadToken(); err != nil {
		d.fatal(err)
		return false
	}
	return true
}

// Object enters an object. When the next value is not one it reports that,
// skips it and returns false.
func (d *Decoder) Object() bool { return d.open('{', "an object") }

// Next reads the next member name of the entered object. It returns false, and
// has left the object, when there is none, and after an error.
func (d *Decoder) Next() bool {
	if d.failed {
		return false
	}
	if d.json.PeekKind() == '}' {
		if _, err := d.json.ReadToken(); err != nil {
			d.fatal(err)
		}
		return false
	}
	v := d.value()
	if v == nil {
		return false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		d.name = append(d.name[:0], v[1:len(v)-1]...)
		return true
	}
	name, err := jsontext.AppendUnquote(d.name[:0], v)
	if err != nil {
		d.fatal(err)
		return false
	}
	d.name = name
	return true
}

// Name is the member name that Next read, valid until the next read.
func (d *Decoder) Name() []byte { return d.name }

// Null reads the next value when it is null and reports whether it did. It
// belongs before an optional member that is not nullable: in a request null
// means absent, in a record it is a violation.
func (d *Decoder) Null() bool {
	if d.failed || d.json.PeekKind() != 'n' {
		return false
	}
	d.Skip()
	if d.record {
		d.typeFault("must not be null")
	}
	return true
}

// Nullable reads the next value when it is null and reports whether it did.
func (d *Decoder) Nullable() bool {
	if d.failed || d.json.PeekKind() != 'n' {
		return false
	}
	d.Skip()
	return true
}

// Missing reports the required members of the object that was just left whose
// bit in seen is not set. Bit i belongs to names[i].
func (d *Decoder) Missing(seen uint64, names []string) {
	if d.failed {
		return
	}
	for i, name := range names {
		if seen&(1<<i) == 0 {
			d.issue(string(d.json.StackPointer().AppendToken(name)), "required", "is required")
		}
	}
}

// Type checks the $type member of a record.
func (d *Decoder) Type(want string) {
	if d.failed {
		return
	}
	if d.json.PeekKind() != '"' {
		d.mismatch("the string " + strconv.Quote(want))
		return
	}
	if s, ok := d.text(); ok && s != want {
		d.fault(fault{"const", "must be " + strconv.Quote(want)})
	}
}

// text reads the string that comes next.
func (d *Decoder) text() (string, bool) {
	v := d.value()
	if v == nil {
		return "", false
	}
	if bytes.IndexByte(v, '\\') < 0 {
		return string(v[1 : len(v)-1]), true
	}
	b, err := jsontext.AppendUnquote(nil, v)
	if err != nil {
		d.fatal(err)
		return "", false
	}
	return string(b), true
}

// New sets *p to a new zero value and returns it.
func New[T any](p **T) *T {
	*p = new(T)
	return *p
}

// DecodeString reads a string that satisfies r; a nil r allows all.
func DecodeString[T ~string](d *Decoder, v *T, r *StringRule) {
	if d.failed {
		return
	}
	if d.json.PeekKind() != '"' {
		d.mismatch("a string")
		return
	}
	s, ok := d.text()
	if !ok {
		return
	}
	*v = T(s)
	d.fault(r.check(s))
}

// DecodeInt reads an integer that satisfies r; a nil r allows all of 64 bits.
func DecodeInt[T ~int64](d *Decoder, v *T, r *IntRule) {
	if d.failed {
		return
	}
	if d.json.PeekKind() != '0' {
		d.mismatch("an integer")
		return
	}
	raw := d.value()
	if raw == nil {
		return
	}
	n, ok := parseInt(raw)
	if !ok {
		d.typeFault("must be an integer of 64 bits, without fraction or exponent")
		return
	}
	*v = T(n)
	d.fault(r.check(n))
}

func parseInt(raw []byte) (int64, bool) {
	if string(raw) == "-0" {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// DecodeBool reads a boolean.
func DecodeBool[T ~bool](d *Decoder, v *T, r *BoolRule) {
	if d.failed {
		return
	}
	k := d.json.PeekKind()
	if k != 't' && k != 'f' {
		d.mismatch("a boolean")
		return
	}
	d.Skip()
	*v = k == 't'
	d.fault(r.check(k == 't'))
}

// DecodeArray reads an array. Items beyond the limit are checked for their JSON
// syntax but neither kept nor decoded.
func DecodeArray[S ~[]T, T any](d *Decoder, v *S, r *ArrayRule, item func(*T, *Decoder)) {
	if !d.open('[', "an array") {
		return
	}
	out, n := S{}, 0
	for !d.failed && d.json.PeekKind() != ']' {
		if r != nil && r.MaxLen != 0 && n >= limit(r.MaxLen) {
			d.Skip()
		} else {
			var zero T
			out = append(out, zero)
			item(&out[n], d)
		}
		n++
	}
	if d.failed {
		return
	}
	if _, err := d.json.ReadToken(); err != nil {
		d.fatal(err)
		return
	}
	*v = out
	d.fault(r.check(n))
}
