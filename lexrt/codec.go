package lexrt

import (
	"bytes"
	"sync"
)

// Unmarshal decodes src, an answer or a part of one, into v and validates it: null is
// accepted for an optional member and bytes may be a bare base64 string. The error
// is an *InvalidError with every issue; what names the part, for example "value".
// It keeps nothing of src.
func Unmarshal[T any, P LexerOf[T]](src []byte, v *T, what string) error {
	*v = *new(T)
	return decode(src, what, option{}, P(v))
}

// UnmarshalInput is Unmarshal for the body of a request, which holds no U+0000.
func UnmarshalInput[T any, P LexerOf[T]](src []byte, v *T) error {
	*v = *new(T)
	return decode(src, "body", option{request: true}, P(v))
}

// UnmarshalRecord decodes src into v and validates it under the exact rules of the
// atproto data model: null only where the schema says nullable, bytes only as
// {"$bytes": …}. Stray bits in the last base64 character are accepted, as the
// reference implementations do, because a record is encoded again before it is signed.
func UnmarshalRecord[T any, P LexerOf[T]](src []byte, v *T) error {
	*v = *new(T)
	return decode(src, "record", option{record: true}, P(v))
}

// UnmarshalLenient decodes a record as UnmarshalRecord does, and takes what old programs wrote into
// the network as well: blobs in the form {"cid": …, "mimeType": …}, whose Size is LegacyBlob then,
// times without a zone and in the other forms that indigo accepts, languages in upper case or of
// more than three letters, and null for a member that may be absent. Such values are encoded as
// they were read; Validate refuses those blobs, times and languages.
func UnmarshalLenient[T any, P LexerOf[T]](src []byte, v *T) error {
	*v = *new(T)
	return decode(src, "record", option{record: true, lenient: true}, P(v))
}

// UnmarshalValue decodes src, of which value reads the one value.
func UnmarshalValue[T any](src []byte, v *T, what string, value func(f *Fields, v *T)) error {
	*v = *new(T)
	return decodeValue(src, what, option{}, v, value)
}

// Decode decodes the body into v.
func (r *Request) Decode(v Lexer) error {
	return decode(r.Body, "body", option{request: true, owned: r.BodyOwned, heeded: r.Heeded}, v)
}

// DecodeBody decodes the body of a request that is not an object of a generated type.
func DecodeBody[T any](r *Request, v *T, value func(f *Fields, v *T)) error {
	return decodeValue(r.Body, "body", option{request: true, owned: r.BodyOwned, heeded: r.Heeded}, v, value)
}

// option says how to decode.
type option struct {
	record, lenient, request, owned bool
	heeded                          []string
}

func (f *Fields) set(opt option) {
	f.record, f.lenient, f.request, f.owned, f.heeded = opt.record, opt.lenient, opt.request, opt.owned, opt.heeded
}

func decode(src []byte, what string, opt option, v Lexer) error {
	f := newFields(decoding)
	f.set(opt)
	if f.load(src) {
		StructValue(f, v)
	}
	return f.release(what)
}

func decodeValue[T any](src []byte, what string, opt option, v *T, value func(f *Fields, v *T)) error {
	f := newFields(decoding)
	f.set(opt)
	if f.load(src) {
		value(f, v)
	}
	return f.release(what)
}

// Append appends the JSON of v to dst and returns the extended slice.
func Append(dst []byte, v Lexer) []byte {
	f := newFields(encoding)
	f.out = dst
	StructValue(f, v)
	dst = f.out
	_ = f.release("") // encoding has no issues
	return dst
}

// Padded is an answer whose bytes leave as padded base64, which decoders of some languages insist
// on; the data model has them unpadded, and its readers take both. What is no value of a generated
// type is left as it is.
func Padded(r Response) Response {
	if v, ok := r.(Lexer); ok {
		return paddedResponse{v}
	}
	return r
}

type paddedResponse struct{ v Lexer }

// AppendJSON implements Response.
func (p paddedResponse) AppendJSON(dst []byte) []byte {
	f := newFields(encoding)
	f.out, f.padded = dst, true
	StructValue(f, p.v)
	dst = f.out
	_ = f.release("") // encoding has no issues
	return dst
}

// AppendValue is Append for a value that is not an object of a generated type.
func AppendValue[T any](dst []byte, v *T, value func(f *Fields, v *T)) []byte {
	f := newFields(encoding)
	f.out = dst
	value(f, v)
	dst = f.out
	_ = f.release("") // encoding has no issues
	return dst
}

// buffers hold the room that Marshal encodes in.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// Marshal returns the JSON of v for package encoding/json. A member of a union has
// its $type, because nothing else tells what it is where v stands alone.
func Marshal(v Lexer) ([]byte, error) {
	return marshal(v, func(f *Fields, v *Lexer) {
		if t, ok := (*v).(Typed); ok {
			f.encodeTyped(t)
		} else {
			StructValue(f, *v)
		}
	}), nil
}

// MarshalValue is Marshal for a value that is not an object of a generated type.
func MarshalValue[T any](v T, value func(f *Fields, v *T)) ([]byte, error) {
	return marshal(v, value), nil
}

func marshal[T any](v T, value func(f *Fields, v *T)) []byte {
	room, ok := buffers.Get().(*[]byte)
	if !ok {
		room = new([]byte)
	}
	b := AppendValue((*room)[:0], &v, value)
	out := bytes.Clone(b)
	if cap(b) <= maxScratch {
		*room = b
	}
	buffers.Put(room)
	return out
}

// Validate checks v against its schema. The error is an *InvalidError with every issue.
func Validate(v Lexer) error {
	f := newFields(checking)
	StructValue(f, v)
	return f.release("value")
}

// ValidateValue is Validate for a value that is not an object of a generated type.
func ValidateValue[T any](v *T, value func(f *Fields, v *T)) error {
	f := newFields(checking)
	value(f, v)
	return f.release("value")
}
