package lexrt

import (
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// AppendName appends a member name, given as JSON text with its colon, after the
// comma that it needs unless it is the first member.
func AppendName(dst []byte, quoted string) []byte {
	if dst[len(dst)-1] != '{' {
		dst = append(dst, ',')
	}
	return append(dst, quoted...)
}

// AppendString appends a JSON string. Invalid UTF-8 is replaced by U+FFFD.
func AppendString[T ~string](dst []byte, v *T) []byte {
	if plain(string(*v)) {
		dst = append(dst, '"')
		dst = append(dst, *v...)
		return append(dst, '"')
	}
	// The only error is that of invalid UTF-8, and the text is complete all the same.
	dst, _ = jsontext.AppendQuote(dst, string(*v))
	return dst
}

// plain reports whether s is its own JSON text: printable ASCII without quotes and backslashes.
func plain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// AppendInt appends an integer.
func AppendInt[T ~int64](dst []byte, v *T) []byte { return strconv.AppendInt(dst, int64(*v), 10) }

// AppendBool appends a boolean.
func AppendBool[T ~bool](dst []byte, v *T) []byte { return strconv.AppendBool(dst, bool(*v)) }

// AppendBytes appends {"$bytes": …} with standard, unpadded base64.
func AppendBytes(dst []byte, v *[]byte) []byte {
	dst = append(dst, `{"$bytes":"`...)
	dst = appendBase64(dst, *v)
	return append(dst, `"}`...)
}

// AppendCID appends {"$link": …}.
func AppendCID(dst []byte, v *CID) []byte {
	dst = append(dst, `{"$link":`...)
	dst = AppendString(dst, v)
	return append(dst, '}')
}

// AppendBlob appends a blob reference.
func AppendBlob(dst []byte, v *Blob) []byte {
	dst = append(dst, `{"$type":"blob","ref":`...)
	dst = AppendCID(dst, &v.Ref)
	dst = append(dst, `,"mimeType":`...)
	dst = AppendString(dst, &v.MIMEType)
	dst = append(dst, `,"size":`...)
	dst = strconv.AppendInt(dst, v.Size, 10)
	return append(dst, '}')
}

// AppendRaw appends JSON text as it is.
func AppendRaw(dst []byte, v *Raw) []byte { return v.AppendJSON(dst) }

// AppendArray appends an array; a nil slice is written as an empty one.
func AppendArray[S ~[]T, T any](dst []byte, v *S, item func(*T, []byte) []byte) []byte {
	dst = append(dst, '[')
	for i := range *v {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = item(&(*v)[i], dst)
	}
	return append(dst, ']')
}
