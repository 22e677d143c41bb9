package lexrt

import (
	"bytes"
	"encoding/base32"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt/lexbase64"
)

// CID is the target of a cid-link: a CID of version 1, in lower-case base32, of
// codec dag-cbor or raw, with a SHA-256 hash, as the atproto data model asks.
type CID string

// CIDString is a string of format "cid": any CID in its text form.
type CIDString = syntax.CID

var errCID = errors.New("must be a CID of version 1 with codec dag-cbor or raw and a SHA-256 hash")

var cidEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ParseCID checks that s is a CID that a cid-link may hold.
func ParseCID(s string) (CID, error) {
	// "b", then 4 bytes of prefix and 32 of hash in base32.
	if len(s) != 59 || s[0] != 'b' {
		return "", errCID
	}
	raw, err := cidEncoding.DecodeString(s[1:])
	if err != nil || len(raw) != 36 || raw[0] != 1 || raw[2] != 0x12 || raw[3] != 32 {
		return "", errCID
	}
	if raw[1] != 0x71 && raw[1] != 0x55 {
		return "", errCID
	}
	return CID(s), nil
}

// AppendJSON appends {"$link": …}.
func (c CID) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"$link":`...)
	return append(AppendString(dst, &c), '}')
}

// MarshalJSON returns {"$link": …}.
func (c CID) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil), nil }

// UnmarshalJSON reads {"$link": …}. The error is an *InvalidError.
func (c *CID) UnmarshalJSON(src []byte) error { return UnmarshalValue(src, c, "value", CIDLinkValue) }

// Blob refers to uploaded data.
type Blob struct {
	Ref      CID
	MIMEType string
	// Size is in bytes.
	Size int64
}

// LegacyBlob is the Size of a blob that was read in the form that old records have.
const LegacyBlob = -1

// AppendJSON appends the blob reference.
func (b Blob) AppendJSON(dst []byte) []byte {
	if b.Size == LegacyBlob {
		dst = append(AppendString(append(dst, `{"cid":`...), &b.Ref), `,"mimeType":`...)
		return append(AppendString(dst, &b.MIMEType), '}')
	}
	dst = append(dst, `{"$type":"blob","ref":`...)
	dst = append(b.Ref.AppendJSON(dst), `,"mimeType":`...)
	dst = append(AppendString(dst, &b.MIMEType), `,"size":`...)
	return append(strconv.AppendInt(dst, b.Size, 10), '}')
}

// MarshalJSON is AppendJSON for package encoding/json.
func (b Blob) MarshalJSON() ([]byte, error) { return b.AppendJSON(nil), nil }

// UnmarshalJSON reads a blob reference. The error is an *InvalidError.
func (b *Blob) UnmarshalJSON(src []byte) error {
	return UnmarshalValue(src, b, "value", func(f *Fields, b *Blob) { BlobValue(f, b, nil) })
}

// Raw is the JSON text of a value that the schema leaves open. It is never
// written back differently than it was read.
type Raw []byte

// AppendJSON appends the text, or null when there is none.
func (r Raw) AppendJSON(dst []byte) []byte {
	if len(r) == 0 {
		return append(dst, "null"...)
	}
	return append(dst, r...)
}

// MarshalJSON returns the text, or null when there is none.
func (r Raw) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// UnmarshalJSON keeps a copy of b.
func (r *Raw) UnmarshalJSON(b []byte) error {
	*r = append((*r)[:0], b...)
	return nil
}

// RawUnion is a member of an open union that the schema does not know: its $type and its whole
// JSON.
type RawUnion struct {
	Type string
	JSON Raw
}

// AppendJSON appends the member's JSON as it was read.
func (u RawUnion) AppendJSON(dst []byte) []byte { return u.JSON.AppendJSON(dst) }

// MarshalJSON is AppendJSON for package encoding/json.
func (u RawUnion) MarshalJSON() ([]byte, error) { return u.AppendJSON(nil), nil }

func (u *RawUnion) rawUnion() *RawUnion { return u }

// OptNull is a member that may be absent, null or a value. The zero value is absent.
type OptNull[T any] struct {
	value *T
	set   bool
}

// Null returns the OptNull that is written as null.
func Null[T any]() OptNull[T] { return OptNull[T]{set: true} }

// Some returns the OptNull that holds v.
func Some[T any](v T) OptNull[T] { return OptNull[T]{value: &v, set: true} }

// Set makes o hold a new zero value and returns it.
func (o *OptNull[T]) Set() *T {
	o.set = true
	return newValue(&o.value)
}

// SetNull makes o null.
func (o *OptNull[T]) SetNull() { *o = OptNull[T]{set: true} }

// Get returns the value, or nil when there is none.
func (o *OptNull[T]) Get() *T { return o.value }

// IsAbsent reports whether the member is not written at all.
func (o *OptNull[T]) IsAbsent() bool { return !o.set }

// IsNull reports whether the member is written as null.
func (o *OptNull[T]) IsNull() bool { return o.set && o.value == nil }

// MarshalJSON returns the value's JSON, or null when there is none.
func (o OptNull[T]) MarshalJSON() ([]byte, error) { return json.Marshal(o.value) }

// checkUnknown says what keeps a validated JSON object from being the value of an "unknown".
func checkUnknown(raw []byte) string {
	for key, value := range members(raw) {
		typ, _ := unquote(value)
		if key == "$bytes" || key == "$link" || key == "$type" && typ == "blob" {
			return "must be an object, not bytes, a link or a blob"
		}
	}
	return checkObject(raw)
}

// checkObject says where a validated JSON object leaves the atproto data model
// (https://atproto.com/specs/data-model), or "". It reads the object once, however
// deep it is.
func checkObject(raw []byte) string {
	w := dataWalker{jsontext.NewDecoder(bytes.NewBuffer(raw)), raw}
	return w.value()
}

type dataWalker struct {
	dec *jsontext.Decoder
	raw []byte
}

const notValid = "must be valid JSON"

func (w dataWalker) value() string {
	switch w.dec.PeekKind() {
	case '0':
		raw, err := w.dec.ReadValue()
		if err != nil {
			return notValid
		}
		if _, ok := parseInt(raw); !ok && !integral(raw) {
			return "must follow the data model: numbers must be integers of 64 bits"
		}
	case '{':
		return w.object()
	case '[':
		if _, err := w.dec.ReadToken(); err != nil {
			return notValid
		}
		for w.dec.PeekKind() != ']' {
			if problem := w.value(); problem != "" {
				return problem
			}
		}
		if _, err := w.dec.ReadToken(); err != nil {
			return notValid
		}
	default:
		if err := w.dec.SkipValue(); err != nil {
			return notValid
		}
	}
	return ""
}

// integral reports whether a number in another form than an integer's is one that all
// readers agree on, as 123.0 is.
func integral(raw []byte) bool {
	n, err := strconv.ParseFloat(string(raw), 64)
	return err == nil && n == math.Trunc(n) && math.Abs(n) <= 1<<53
}

func (w dataWalker) object() string {
	if _, err := w.dec.ReadToken(); err != nil {
		return notValid
	}
	start := w.dec.InputOffset() - 1
	n, special, typ := 0, false, ""
	for ; w.dec.PeekKind() != '}'; n++ {
		tok, err := w.dec.ReadToken()
		if err != nil {
			return notValid
		}
		var problem string
		switch tok.String() {
		case "$type":
			if typ = w.text(); typ == "" {
				problem = "must follow the data model: $type must be a string that is not empty"
			}
		case "$bytes":
			special, problem = true, w.bytes()
		case "$link":
			special, problem = true, w.link()
		default:
			problem = w.value()
		}
		if problem != "" {
			return problem
		}
	}
	if special && n != 1 {
		return "must follow the data model: $bytes and $link must be the one member of their object"
	}
	if _, err := w.dec.ReadToken(); err != nil {
		return notValid
	}
	if typ == "blob" {
		// Its parts were walked through already, so a blob is read twice at most.
		if _, problem := parseBlob(w.raw[start:w.dec.InputOffset()]); problem != "" {
			return "must follow the data model: blob: " + strings.TrimPrefix(problem, "must be a blob: ")
		}
	}
	return ""
}

// text reads a string, and any other value as "".
func (w dataWalker) text() string {
	raw, err := w.dec.ReadValue()
	if err != nil {
		return ""
	}
	s, _ := unquote(raw)
	return s
}

func (w dataWalker) bytes() string {
	const problem = "must follow the data model: $bytes must be base64"
	if w.dec.PeekKind() != '"' {
		return problem
	}
	text, err := lexbase64.Trim([]byte(w.text()))
	if err != nil {
		return problem
	}
	if _, err := lexbase64.DecodeTrimmed(text, false); err != nil {
		return problem
	}
	return ""
}

func (w dataWalker) link() string {
	if _, err := ParseCID(w.text()); err != nil {
		return "must follow the data model: $link " + err.Error()
	}
	return ""
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// pointer writes segments as a JSON pointer (RFC 6901).
func pointer(tokens []segment) string {
	var b strings.Builder
	for _, t := range tokens {
		b.WriteByte('/')
		if t.index >= 0 {
			b.WriteString(strconv.Itoa(t.index))
			continue
		}
		b.WriteString(pointerEscapes.Replace(plainName(t.name)))
	}
	return b.String()
}
