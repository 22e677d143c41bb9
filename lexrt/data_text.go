package lexrt

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt/lexbase64"
)

const expectBytes = `an object with the one member "$bytes"`

// longText is from how many characters on a text of an owned body is overwritten.
const longText = 64 << 10

// decodeBytes reads a byte string: {"$bytes": "…"} with base64 in the standard or
// the URL alphabet, padded or not, or, outside records, the bare base64 string.
// The length is checked before anything is decoded.
func (f *Fields) decodeBytes(v *[]byte, r *BytesRule) {
	if c := f.text[f.at]; c != '{' && (c != '"' || f.record) {
		f.mismatch(expectBytes)
		return
	}
	text, ok := bytesText(f.raw())
	if !ok {
		f.typeFault("must be " + expectBytes)
		return
	}
	text, err := lexbase64.Trim(text)
	if err != nil {
		f.typeFault(err.Error())
		return
	}
	if p := r.check(lexbase64.Len(len(text))); p.text != "" {
		f.fault(p)
		return
	}
	decode := lexbase64.DecodeTrimmed
	if f.owned && len(text) >= longText {
		decode = lexbase64.Overwrite
	}
	b, err := decode(text, !f.record)
	if err != nil {
		f.typeFault(err.Error())
		return
	}
	*v = b
}

// bytesText finds the base64 text in a bare string or a $bytes object that
// jsontext has already validated.
func bytesText(raw []byte) ([]byte, bool) {
	const open, end = `{"$bytes":"`, `"}`
	if bytes.HasPrefix(raw, []byte(open)) && bytes.HasSuffix(raw, []byte(end)) && len(raw) >= len(open)+len(end) {
		// No quote inside means that there is exactly one member and that it has no escapes that
		// matter.
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

// parseLegacyBlob reads a blob as it was written before it had a $type.
func parseLegacyBlob(raw []byte) (Blob, bool) {
	b := Blob{Size: LegacyBlob}
	for key, value := range members(raw) {
		text, ok := unquote(value)
		switch {
		case ok && key == "cid" && FormatCID.Valid(text):
			b.Ref = CID(text)
		case ok && key == "mimeType" && strings.Contains(text, "/"):
			b.MIMEType = text
		default:
			return b, false
		}
	}
	return b, b.Ref != "" && b.MIMEType != ""
}

func unquote(v jsontext.Value) (string, bool) {
	if v.Kind() != '"' {
		return "", false
	}
	b, err := jsontext.AppendUnquote(nil, v)
	return string(b), err == nil
}
