package lexrt

import (
	"bytes"
	"math/bits"
	"net/url"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// Lexer is what every generated struct implements: Lex names its members, each
// once and always in the same order.
type Lexer interface{ Lex(f *Fields) }

// LexerOf is a pointer to the generated struct T.
type LexerOf[T any] interface {
	*T
	Lexer
}

// Fields carries out one operation on a value while its Lex method names the
// members: it decodes, encodes or checks them, or reads them from a query string
// or writes them there. Because one list drives them all, they cannot disagree.
//
// Encoding and checking never write into the value. Fields are made by the
// functions of this package and are used by one goroutine.
type Fields struct {
	mode    mode
	record  bool // decode by the exact rules of the data model
	lenient bool // take what old records hold
	request bool // refuse U+0000, which databases cannot hold as text
	owned   bool // text may be overwritten, and kept
	padded  bool // bytes are encoded with padding
	unions  int  // how many unions the value is nested in

	// place is the way from the whole value to where f stands. Its last element is
	// the member or item that f is at.
	place  []segment
	issues []Issue

	// text is what is decoded: JSON that jsontext has checked as a whole, so that
	// reading it needs no errors. at is the position of the next value.
	text    []byte
	at      int
	object  object
	far     []uint64
	escaped []byte // the next member's name, where it is written with escapes
	scratch []byte
	repeats *repeats // of the items of arrays

	out []byte // what is encoded

	query url.Values
	param string // the parameter that is read

	heeded []string // see Request.Heeded; what has been read is taken off when it is a query's

	sound  sound
	slow   bool // json was used
	json   *jsontext.Decoder
	reader bytes.Buffer
}

type mode uint8

const (
	decoding mode = iota
	missing       // after decoding an object: what was not there?
	keeping       // while decoding an object: where does a member go that it does not know?
	encoding
	checking
	readingQuery
	writingQuery
)

// Presence says whether a member may be absent or null.
type Presence uint8

// The presences. A member that is neither Required nor Nullable may be absent; in
// a request or an answer its null means absent too.
const (
	Optional Presence = 0
	Required Presence = 1
	Nullable Presence = 2
	// Constant marks a required member whose rule allows one value: that value is
	// encoded whatever the field holds.
	Constant Presence = 4
)

// RequiredNullable is the presence of a member that is always there and may be null.
const RequiredNullable = Required | Nullable

// object is the state of the object that is being decoded. It has no pointers, so
// that entering and leaving objects is cheap.
type object struct {
	// from and to are where in text the next member's name is, without its quotes;
	// both are 0 after the last.
	from, to int
	escaped  bool // the name is in Fields.escaped instead
	typed    bool // $type is dealt with
	record   bool // it is a record or within one
	keeps    bool // members that it does not know have a place
	again    bool // Lex runs for the second time or later
	index    int  // of the member that Lex names next
	hits     int
	seen     uint64 // the members that were read, by index
	far      int    // where in Fields.far those from index 64 on begin
}

func (f *Fields) mark(i int) {
	if i < 64 {
		f.object.seen |= 1 << i
		return
	}
	word := f.object.far + i/64 - 1
	for len(f.far) <= word {
		f.far = append(f.far, 0)
	}
	f.far[word] |= 1 << (i % 64)
}

func (f *Fields) marked(i int) bool {
	if i < 64 {
		return f.object.seen&(1<<i) != 0
	}
	word := f.object.far + i/64 - 1
	return word < len(f.far) && f.far[word]&(1<<(i%64)) != 0
}

// complete reports whether all members that Lex named were read.
func (f *Fields) complete() bool {
	n := bits.OnesCount64(f.object.seen)
	for _, w := range f.far[f.object.far:] {
		n += bits.OnesCount64(w)
	}
	return n == f.object.index
}

var pool = sync.Pool{New: func() any { return &Fields{json: jsontext.NewDecoder(&bytes.Buffer{})} }}

func newFields(m mode) *Fields {
	f, ok := pool.Get().(*Fields)
	if !ok {
		f = &Fields{json: jsontext.NewDecoder(&bytes.Buffer{})}
	}
	f.mode = m
	return f
}

// maxScratch is the size in bytes up to which buffers are kept for the next use.
const maxScratch = 64 << 10

// release gives f back, without anything of the caller's, and returns its issues.
func (f *Fields) release(what string) error {
	issues := f.issues
	if f.slow {
		f.reader = bytes.Buffer{}
		f.json.Reset(&f.reader)
	}
	if cap(f.scratch) > maxScratch {
		f.scratch = nil
	}
	if f.repeats != nil {
		repeatsPool.Put(f.repeats.cleared())
	}
	*f = Fields{json: f.json, sound: sound{names: f.sound.names[:0], arrays: f.sound.arrays[:0]}, scratch: f.scratch[:0], place: f.place[:0], far: f.far[:0]}
	pool.Put(f)
	if len(issues) == 0 {
		return nil
	}
	return &InvalidError{What: what, Issues: issues}
}

// enter comes to the member with the given name, which is JSON text without its
// quotes. It reports whether there is a value to deal with; leave follows then.
// none says that the field holds no value.
func (f *Fields) enter(name string, p Presence, none bool) bool {
	switch f.mode {
	case encoding:
		if none && p == Optional {
			return false
		}
		f.out = appendName(f.out, name, len("null,"))
		if none {
			f.out = append(f.out, "null,"...)
		}
		return !none
	case decoding:
		return f.enterDecoding(name, p)
	case missing:
		i := f.object.index
		f.object.index++
		if p&Required != 0 && !f.marked(i) {
			f.here(name)
			f.fault(fault{"required", "is required"})
		}
		return false
	case checking:
		f.here(name)
		if none && p&RequiredNullable == Required {
			f.fault(fault{"required", "is required"})
		}
		return !none && p&Constant == 0
	case readingQuery:
		return f.enterParam(name, p)
	case writingQuery:
		f.here(name)
		return !none
	case keeping:
	}
	return false
}

func (f *Fields) enterDecoding(name string, p Presence) bool {
	o := &f.object
	i := o.index
	o.index++
	if o.escaped {
		if string(f.escaped) != name {
			return false
		}
	} else if len(name) != o.to-o.from || string(f.text[o.from:o.to]) != name {
		return false
	}
	f.mark(i)
	o.hits++
	f.here(name)
	if p&RequiredNullable != Required && f.text[f.at] == 'n' {
		f.skip()
		if p == Optional && f.record && !f.lenient {
			f.typeFault("must not be null")
		}
		f.advance()
		return false
	}
	return true
}

// leave ends what enter began.
func (f *Fields) leave() {
	switch f.mode {
	case decoding:
		f.advance()
	case encoding:
		f.out = append(f.out, ',')
	case missing, keeping, checking, readingQuery, writingQuery:
	}
}

// here notes the member that f is at.
func (f *Fields) here(name string) { f.place[len(f.place)-1] = segment{name, -1} }

func (f *Fields) push() { f.place = append(f.place, segment{"", -1}) }

func (f *Fields) pop() { f.place = f.place[:len(f.place)-1] }

// segment is a member, by the JSON text of its name without quotes, or an item.
type segment struct {
	name  string
	index int
}

// maxIssues bounds what one refused value can make us store and send back.
const maxIssues = 100

// fault reports what is wrong with the value that f is at.
func (f *Fields) fault(p fault) {
	if p.text != "" && len(f.issues) < maxIssues {
		f.issues = append(f.issues, Issue{Pointer: pointer(f.place), Rule: p.rule, Problem: p.text})
	}
}

func (f *Fields) typeFault(problem string) { f.fault(fault{"type", problem}) }

// faultAt reports what is wrong with a member of the object that f is at.
func (f *Fields) faultAt(name string, p fault) {
	f.place = append(f.place, segment{name, -1})
	f.fault(p)
	f.pop()
}

// plainName is a member's name without the escapes of its JSON text.
func plainName(name string) string {
	if strings.IndexByte(name, '\\') < 0 {
		return name
	}
	b, err := jsontext.AppendUnquote(nil, `"`+name+`"`)
	if err != nil {
		return name
	}
	return string(b)
}

// newValue sets *p to a new zero value and returns it.
func newValue[T any](p **T) *T {
	*p = new(T)
	return *p
}

// pointed enters a member whose field is a pointer. It returns the value to deal
// with, nil when there is none; leave follows unless it is nil.
func pointed[T any](f *Fields, name string, v **T, p Presence) *T {
	if !f.enter(name, p, *v == nil) {
		return nil
	}
	if f.mode == decoding || f.mode == readingQuery {
		return newValue(v)
	}
	return *v
}

// Default gives the field of an optional member the value that it has when the
// member is absent. It stands before the member in Lex.
func Default[T any](f *Fields, v *T, value T) {
	if f.mode == decoding && !f.object.again || f.mode == readingQuery {
		*v = value
	}
}

// DefaultOptNull is Default for an OptNull.
func DefaultOptNull[T any](f *Fields, v *OptNull[T], value T) { Default(f, v, Some(value)) }

// Maybe is a member that may be absent, null or a value, which the function deals with.
func Maybe[T any](f *Fields, name string, v *OptNull[T], value func(f *Fields, v *T)) {
	switch f.mode {
	case decoding:
		if before := f.object.hits; f.enter(name, Nullable, false) {
			value(f, v.Set())
			f.leave()
		} else if f.object.hits > before {
			v.SetNull()
		}
	case encoding:
		if v.set && f.enter(name, Nullable, v.value == nil) {
			value(f, v.value)
			f.leave()
		}
	default:
		if f.enter(name, Nullable, v.value == nil) {
			value(f, v.value)
		}
	}
}
