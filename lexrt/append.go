package lexrt

import (
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt/lexbase64"
)

// Each member is written with the comma that follows it; closeObject writes the
// brace over the last one.

// appendName appends the name of a member and has room for more bytes behind it.
func appendName(b []byte, name string, more int) []byte {
	b = slices.Grow(b, len(name)+len(`"":`)+more)
	b = append(b, '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

// appendStringMember appends a member whose value is a string.
func (f *Fields) appendStringMember(name, s string) {
	b := appendName(f.out, name, len(s)+len(`"",`))
	if plain(s) {
		b = append(b, '"')
		b = append(b, s...)
		b = append(b, '"', ',')
		f.out = b
		return
	}
	f.out = append(AppendString(b, &s), ',')
}

func (f *Fields) appendIntMember(name string, n int64) {
	b := appendName(f.out, name, len("-9223372036854775808,"))
	f.out = append(strconv.AppendInt(b, n, 10), ',')
}

func (f *Fields) appendBytesMember(name string, v []byte) {
	b := appendName(f.out, name, lexbase64.TextLen(len(v))+len(`{"$bytes":"=="},`))
	f.out = append(f.appendBytes(b, v), ',')
}

func (f *Fields) appendBytes(b, v []byte) []byte {
	b = lexbase64.Append(append(b, `{"$bytes":"`...), v)
	if n := len(v) % 3; f.padded && n > 0 {
		b = append(b, "=="[n-1:]...)
	}
	return append(b, `"}`...)
}

func closeObject(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b[len(b)-1] = '}'
		return b
	}
	return append(b, '}')
}

func closeArray(b []byte) []byte {
	if b[len(b)-1] == ',' {
		b = b[:len(b)-1]
	}
	return append(b, ']', ',')
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
