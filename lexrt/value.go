package lexrt

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// String is a member that is a string and satisfies r; a nil r allows all.
func String[T ~string](f *Fields, name string, v *T, p Presence, r *StringRule) {
	switch {
	case f.mode != encoding:
		if f.enter(name, p, false) {
			StringValue(f, v, r)
			f.leave()
		}
	case p&Constant != 0:
		f.appendStringMember(name, r.Enum[0])
	default:
		f.appendStringMember(name, string(*v))
	}
}

// StringPtr is String for a field that may be nil.
func StringPtr[T ~string](f *Fields, name string, v **T, p Presence, r *StringRule) {
	if f.mode == encoding && *v != nil {
		f.appendStringMember(name, string(**v))
		return
	}
	if t := pointed(f, name, v, p); t != nil {
		StringValue(f, t, r)
		f.leave()
	}
}

// StringValue is a string that is not a member.
func StringValue[T ~string](f *Fields, v *T, r *StringRule) {
	switch f.mode {
	case encoding:
		f.out = AppendString(f.out, v)
	case decoding:
		if f.text[f.at] != '"' {
			f.mismatch("a string")
			return
		}
		raw := f.string()
		if f.request && bytes.IndexByte(raw, 0) >= 0 {
			f.fault(noNUL)
			return
		}
		s, ok := r.listed(raw)
		if !ok {
			s = f.copied(raw)
		}
		*v = T(s)
		p := r.check(s)
		if p.rule == "format" && f.lenient && r.Format.validOnce(s) {
			p = fault{}
		}
		f.fault(p)
	case checking:
		f.checkText(string(*v), r)
	case readingQuery:
		*v = T(f.param)
		f.checkText(f.param, r)
	case writingQuery:
		f.query.Add(f.paramName(), string(*v))
	case missing, keeping:
	}
}

var noNUL = fault{"type", "must not contain the character U+0000"}

func (f *Fields) checkText(s string, r *StringRule) {
	switch {
	case !utf8.ValidString(s):
		f.typeFault("must be valid UTF-8")
		return
	case f.request && strings.IndexByte(s, 0) >= 0:
		f.fault(noNUL)
		return
	}
	f.fault(r.check(s))
}

// Int is a member that is an integer and satisfies r; a nil r allows all of 64 bits.
func Int[T ~int64](f *Fields, name string, v *T, p Presence, r *IntRule) {
	switch {
	case f.mode != encoding:
		if f.enter(name, p, false) {
			IntValue(f, v, r)
			f.leave()
		}
	case p&Constant != 0:
		f.appendIntMember(name, r.Enum[0])
	default:
		f.appendIntMember(name, int64(*v))
	}
}

// IntPtr is Int for a field that may be nil.
func IntPtr[T ~int64](f *Fields, name string, v **T, p Presence, r *IntRule) {
	if f.mode == encoding && *v != nil {
		f.appendIntMember(name, int64(**v))
		return
	}
	if t := pointed(f, name, v, p); t != nil {
		IntValue(f, t, r)
		f.leave()
	}
}

// IntValue is an integer that is not a member.
func IntValue[T ~int64](f *Fields, v *T, r *IntRule) {
	switch f.mode {
	case encoding:
		f.out = strconv.AppendInt(f.out, int64(*v), 10)
	case decoding:
		if c := f.text[f.at]; c != '-' && (c < '0' || c > '9') {
			f.mismatch("an integer")
			return
		}
		n, ok := parseInt(f.raw())
		if !ok {
			f.typeFault("must be an integer of 64 bits, without fraction or exponent")
			return
		}
		*v = T(n)
		f.fault(r.check(n))
	case checking:
		f.fault(r.check(int64(*v)))
	case readingQuery:
		n, err := strconv.ParseInt(f.param, 10, 64)
		if err != nil || strconv.FormatInt(n, 10) != f.param {
			f.typeFault("must be a base-10 integer of 64 bits")
			return
		}
		*v = T(n)
		f.fault(r.check(n))
	case writingQuery:
		f.query.Add(f.paramName(), strconv.FormatInt(int64(*v), 10))
	case missing, keeping:
	}
}

func parseInt(raw []byte) (int64, bool) {
	if string(raw) == "-0" {
		return 0, false
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	return n, err == nil
}

// Bool is a member that is a boolean and satisfies r.
func Bool[T ~bool](f *Fields, name string, v *T, p Presence, r *BoolRule) {
	if !f.enter(name, p, false) {
		return
	}
	if f.mode == encoding && p&Constant != 0 {
		f.out = strconv.AppendBool(f.out, r.Const)
	} else {
		BoolValue(f, v, r)
	}
	f.leave()
}

// BoolPtr is Bool for a field that may be nil.
func BoolPtr[T ~bool](f *Fields, name string, v **T, p Presence, r *BoolRule) {
	if t := pointed(f, name, v, p); t != nil {
		BoolValue(f, t, r)
		f.leave()
	}
}

// BoolValue is a boolean that is not a member.
func BoolValue[T ~bool](f *Fields, v *T, r *BoolRule) {
	switch f.mode {
	case encoding:
		f.out = strconv.AppendBool(f.out, bool(*v))
	case decoding:
		c := f.text[f.at]
		if c != 't' && c != 'f' {
			f.mismatch("a boolean")
			return
		}
		f.skip()
		*v = c == 't'
		f.fault(r.check(c == 't'))
	case checking:
		f.fault(r.check(bool(*v)))
	case readingQuery:
		if f.param != "true" && f.param != "false" {
			f.typeFault("must be true or false")
			return
		}
		*v = f.param == "true"
		f.fault(r.check(f.param == "true"))
	case writingQuery:
		f.query.Add(f.paramName(), strconv.FormatBool(bool(*v)))
	case missing, keeping:
	}
}

// Bytes is a member that is a byte string and satisfies r.
func Bytes(f *Fields, name string, v *[]byte, p Presence, r *BytesRule) {
	if f.mode == encoding && *v != nil {
		f.appendBytesMember(name, *v)
		return
	}
	if f.enter(name, p, *v == nil && p != Required) {
		BytesValue(f, v, r)
		f.leave()
	}
}

// BytesValue is a byte string that is not a member.
func BytesValue(f *Fields, v *[]byte, r *BytesRule) {
	switch f.mode {
	case encoding:
		f.out = f.appendBytes(f.out, *v)
	case decoding:
		f.decodeBytes(v, r)
	case checking:
		f.fault(r.check(len(*v)))
	case missing, keeping, readingQuery, writingQuery:
	}
}

// CIDLink is a member that is a cid-link.
func CIDLink(f *Fields, name string, v *CID, p Presence) {
	if f.enter(name, p, false) {
		CIDLinkValue(f, v)
		f.leave()
	}
}

// CIDLinkPtr is CIDLink for a field that may be nil.
func CIDLinkPtr(f *Fields, name string, v **CID, p Presence) {
	if t := pointed(f, name, v, p); t != nil {
		CIDLinkValue(f, t)
		f.leave()
	}
}

// CIDLinkValue is a cid-link that is not a member.
func CIDLinkValue(f *Fields, v *CID) {
	switch f.mode {
	case encoding:
		f.out = v.AppendJSON(f.out)
	case decoding:
		if f.text[f.at] != '{' {
			f.mismatch(`an object with the one member "$link"`)
			return
		}
		c, problem := parseLink(f.raw())
		if problem != "" {
			f.typeFault(problem)
			return
		}
		*v = c
	case checking:
		if _, err := ParseCID(string(*v)); err != nil {
			f.typeFault(err.Error())
		}
	case missing, keeping, readingQuery, writingQuery:
	}
}

// BlobRef is a member that is a blob reference and satisfies r.
func BlobRef(f *Fields, name string, v *Blob, p Presence, r *BlobRule) {
	if f.enter(name, p, false) {
		BlobValue(f, v, r)
		f.leave()
	}
}

// BlobRefPtr is BlobRef for a field that may be nil.
func BlobRefPtr(f *Fields, name string, v **Blob, p Presence, r *BlobRule) {
	if t := pointed(f, name, v, p); t != nil {
		BlobValue(f, t, r)
		f.leave()
	}
}

// BlobValue is a blob reference that is not a member.
func BlobValue(f *Fields, v *Blob, r *BlobRule) {
	switch f.mode {
	case encoding:
		f.out = v.AppendJSON(f.out)
	case decoding:
		if f.text[f.at] != '{' {
			f.mismatch("a blob")
			return
		}
		raw := f.raw()
		b, problem := parseBlob(raw)
		if problem != "" && f.lenient {
			if old, ok := parseLegacyBlob(raw); ok {
				*v = old
				return
			}
		}
		p := fault{"type", problem}
		switch {
		case problem != "":
		case f.request && strings.IndexByte(b.MIMEType, 0) >= 0:
			p = noNUL
		default:
			p = r.check(&b)
		}
		if p.text != "" {
			f.fault(p)
			return
		}
		*v = b
	case checking:
		switch _, err := ParseCID(string(v.Ref)); {
		case err != nil:
			f.typeFault("must be a blob: ref " + err.Error())
		case !strings.Contains(v.MIMEType, "/"):
			f.typeFault("must be a blob: mimeType must be a media type")
		case v.Size < 1:
			f.typeFault("must be a blob: size must be an integer of at least 1")
		default:
			f.fault(r.check(v))
		}
	case missing, keeping, readingQuery, writingQuery:
	}
}

// Unknown is a member that is any object of the atproto data model, kept as its JSON.
func Unknown(f *Fields, name string, v *Raw, p Presence) {
	if f.enter(name, p, *v == nil && p != Required) {
		UnknownValue(f, v)
		f.leave()
	}
}

// UnknownValue is such an object that is not a member.
func UnknownValue(f *Fields, v *Raw) {
	switch f.mode {
	case encoding:
		f.out = v.AppendJSON(f.out)
	case decoding:
		if f.text[f.at] != '{' {
			f.mismatch("an object")
			return
		}
		raw := f.raw()
		if problem := checkUnknown(raw); problem != "" {
			f.typeFault(problem)
			return
		}
		f.keepRaw(v, raw)
	case checking:
		if raw, ok := f.checkRaw(*v); ok {
			if raw.Kind() != '{' {
				f.typeFault("must be an object")
				return
			}
			if problem := checkUnknown(raw); problem != "" {
				f.typeFault(problem)
			}
		}
	case missing, keeping, readingQuery, writingQuery:
	}
}

// RawValue is any JSON value.
func RawValue(f *Fields, v *Raw) {
	switch f.mode {
	case encoding:
		f.out = v.AppendJSON(f.out)
	case decoding:
		f.keepRaw(v, f.raw())
	case checking:
		f.checkRaw(*v)
	case missing, keeping, readingQuery, writingQuery:
	}
}

// keepRaw copies JSON that the schema leaves open.
func (f *Fields) keepRaw(v *Raw, raw []byte) {
	if f.request && holdsNUL(raw) {
		f.fault(noNUL)
		return
	}
	*v = Raw(bytes.Clone(raw))
}

// holdsNUL looks for U+0000 in the strings of checked JSON, where it is written as an
// escape: behind an odd number of backslashes.
func holdsNUL(raw []byte) bool {
	const escape = `\u0000`
	for {
		i := bytes.Index(raw, []byte(escape))
		if i < 0 {
			return false
		}
		before := i
		for before > 0 && raw[before-1] == '\\' {
			before--
		}
		if (i-before)%2 == 0 {
			return true
		}
		raw = raw[i+len(escape):]
	}
}

func (f *Fields) checkRaw(v Raw) (jsontext.Value, bool) {
	raw := jsontext.Value(bytes.TrimSpace(v))
	if !raw.IsValid() {
		f.typeFault("must be valid JSON")
		return nil, false
	}
	return raw, true
}
