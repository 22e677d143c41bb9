package lexrt

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const expectBytes = `an object with the one member "$bytes"`

// DecodeBytes reads a byte string: {"$bytes": "…"} with base64 in the standard or
// the URL alphabet, padded or not, or, outside records, the bare base64 string.
// The length is checked before anything is decoded.
func DecodeBytes(d *Decoder, v *[]byte, r *BytesRule) {
	if d.failed {
		return
	}
	switch k := d.json.PeekKind(); {
	case k == '"' && !d.record, k == '{':
	default:
		d.mismatch(expectBytes)
		return
	}
	raw := d.value()
	if raw == nil {
		return
	}
	text, ok := bytesText(raw)
	if !ok {
		d.typeFault("must be " + expectBytes)
		return
	}
	text, err := trimPadding(text)
	if err != nil {
		d.typeFault(err.Error())
		return
	}
	if f := r.check(base64Len(len(text))); f.text != "" {
		d.fault(f)
		return
	}
	decode := decodeBase64
	if d.owned && len(text) >= longText {
		decode = overwriteBase64
	}
	b, err := decode(text, !d.record)
	if err != nil {
		d.typeFault(err.Error())
		return
	}
	*v = b
}

// bytesText finds the base64 text in a bare string or a $bytes object that
// jsontext has already validated.
func bytesText(raw []byte) ([]byte, bool) {
	const open, end = `{"$bytes":"`, `"}`
	if bytes.HasPrefix(raw, []byte(open)) && bytes.HasSuffix(raw, []byte(end)) && len(raw) >= len(open)+len(end) {
		// No quote inside means that there is exactly one member and that it has no escapes that matter.
		text := raw[len(open) : len(raw)-len(end)]
		if bytes.IndexByte(text, '"') < 0 && bytes.IndexByte(text, '\\') < 0 {
			return text, true
		}
	}
	if raw[0] == '{' {
		value, ok := onlyMember(raw, "$bytes")
		if !ok || value.Kind() != '"' {
			return nil, false
		}
		raw = value
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], true
	}
	text, err := jsontext.AppendUnquote(nil, raw)
	return text, err == nil
}

// onlyMember returns the value of the one member of a validated object.
func onlyMember(raw []byte, name string) (jsontext.Value, bool) {
	var found jsontext.Value
	n := 0
	for key, value := range members(raw) {
		n++
		if key == name {
			found = value
		}
	}
	return found, n == 1 && found != nil
}

// members iterates over a validated object.
func members(raw []byte) func(yield func(string, jsontext.Value) bool) {
	return func(yield func(string, jsontext.Value) bool) {
		dec := jsontext.NewDecoder(bytes.NewBuffer(raw))
		if _, err := dec.ReadToken(); err != nil {
			return
		}
		for dec.PeekKind() == '"' {
			tok, err := dec.ReadToken()
			if err != nil {
				return
			}
			key := tok.String()
			value, err := dec.ReadValue()
			if err != nil || !yield(key, value) {
				return
			}
		}
	}
}

// DecodeCID reads a cid-link: {"$link": "…"}.
func DecodeCID(d *Decoder, v *CID) {
	if d.failed {
		return
	}
	if d.json.PeekKind() != '{' {
		d.mismatch(`an object with the one member "$link"`)
		return
	}
	raw := d.value()
	if raw == nil {
		return
	}
	c, problem := parseLink(raw)
	if problem != "" {
		d.typeFault(problem)
		return
	}
	*v = c
}

func parseLink(raw []byte) (CID, string) {
	value, ok := onlyMember(raw, "$link")
	if !ok || value.Kind() != '"' {
		return "", `must be an object with the one member "$link"`
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "", "must be a valid CID"
	}
	c, err := ParseCID(string(text))
	if err != nil {
		return "", err.Error()
	}
	return c, ""
}

// DecodeBlob reads a blob reference that satisfies r.
func DecodeBlob(d *Decoder, v *Blob, r *BlobRule) {
	if d.failed {
		return
	}
	if d.json.PeekKind() != '{' {
		d.mismatch("a blob")
		return
	}
	raw := d.value()
	if raw == nil {
		return
	}
	b, problem := parseBlob(raw)
	f := fault{"type", problem}
	if problem == "" {
		f = r.check(&b)
	}
	if f.text != "" {
		d.fault(f)
		return
	}
	*v = b
}

func parseBlob(raw []byte) (b Blob, problem string) {
	var typ string
	for key, value := range members(raw) {
		switch key {
		case "$type":
			typ, _ = unquote(value)
		case "ref":
			if value.Kind() != '{' {
				return b, `must be a blob: ref must be a {"$link": …} object`
			}
			if b.Ref, problem = parseLink(value); problem != "" {
				return b, "must be a blob: ref " + problem
			}
		case "mimeType":
			var ok bool
			if b.MIMEType, ok = unquote(value); !ok || !strings.Contains(b.MIMEType, "/") {
				return b, "must be a blob: mimeType must be a media type"
			}
		case "size":
			n, ok := parseInt(value)
			if !ok || n < 1 {
				return b, "must be a blob: size must be an integer of at least 1"
			}
			b.Size = n
		default:
			return b, "must be a blob: it has an unknown member"
		}
	}
	if typ != "blob" {
		return b, `must be a blob: $type must be "blob"`
	}
	if b.Ref == "" || b.MIMEType == "" {
		return b, "must be a blob: ref, mimeType and size are required"
	}
	return b, ""
}

func unquote(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}

// DecodeUnknown reads any object of the atproto data model and keeps its JSON.
func DecodeUnknown(d *Decoder, v *Raw) {
	if d.failed {
		return
	}
	if d.json.PeekKind() != '{' {
		d.mismatch("an object")
		return
	}
	raw := d.value()
	if raw == nil {
		return
	}
	if problem := checkUnknown(raw); problem != "" {
		d.typeFault(problem)
		return
	}
	*v = Raw(bytes.Clone(raw))
}

// DecodeRaw reads any JSON value and keeps it.
func DecodeRaw(d *Decoder, v *Raw) {
	if d.failed {
		return
	}
	if raw := d.value(); raw != nil {
		*v = Raw(bytes.Clone(raw))
	}
}

// maxUnionDepth bounds how deep unions may be nested in a value.
const maxUnionDepth = 64

// Variant enters a member of a union: an object whose $type says what it is. The
// returned Decoder reads that object and must be given to EndVariant. Its
// VariantType is "" when the problem has been reported already.
func (d *Decoder) Variant() *Decoder {
	sub := newDecoder(nil)
	sub.root, sub.parent, sub.record = d.root, d, d.record
	sub.failed = true
	if d.failed {
		return sub
	}
	if d.json.PeekKind() != '{' {
		d.mismatch("an object")
		return sub
	}
	// Each level of unions is read twice, so their depth is bounded.
	if sub.depth = d.depth + 1; sub.depth > maxUnionDepth {
		d.Skip()
		d.typeFault("must not be nested more than " + strconv.Itoa(maxUnionDepth) + " unions deep")
		return sub
	}
	raw := d.value()
	if raw == nil {
		return sub
	}
	typ, found := "", false
	for key, value := range members(raw) {
		if key == "$type" {
			typ, found = unquote(value)
			break
		}
	}
	if !found || typ == "" {
		d.issue(string(d.json.StackPointer().AppendToken("$type")), "required", "is required and names a type")
		return sub
	}
	sub.typ, sub.raw, sub.failed = typ, raw, false
	sub.start()
	return sub
}

// VariantType is the $type of the union member that Variant entered.
func (d *Decoder) VariantType() string { return d.typ }

// EndVariant leaves the union member.
func (d *Decoder) EndVariant(sub *Decoder) { sub.release() }

// NotOneOf reports that the $type of a closed union's member is not allowed.
func (d *Decoder) NotOneOf(allowed []string) {
	r := StringRule{Enum: allowed}
	d.issue("/$type", "refs", r.checkEnum("").text)
}

// UnknownVariant keeps a member of an open union whose type the schema does not name.
func (d *Decoder) UnknownVariant() RawUnion {
	if problem := checkObject(d.raw); problem != "" {
		d.issue("", "type", problem)
	}
	return RawUnion{Type: d.typ, JSON: Raw(bytes.Clone(d.raw))}
}
