// Package lexbase64 decodes base64 strictly: no white space, no line breaks, no
// stray bits in the last character, which package encoding/base64 lets pass, the
// first two even when it is strict. So a value has one text in each form, and no two
// readers of it can disagree.
//
// Texts are untrusted. The package depends on the standard library alone, and, unless
// it is built with the tag purego, on the vector code of one module.
package lexbase64

import (
	"bytes"
	"errors"
	"slices"
)

// The errors say what was expected and never repeat the text.
var (
	ErrText = errors.New("must be base64 without spaces or line breaks")
	ErrTail = errors.New("must be base64 without stray bits in the last character")
)

// Len is how many bytes an unpadded text of n characters stands for.
func Len(n int) int { return n/4*3 + n%4*3/4 }

// TextLen is how many characters the unpadded text of n bytes has.
func TextLen(n int) int { return std.EncodedLen(n) }

// Decode decodes a text in the standard or the URL alphabet, padded or not.
func Decode(text []byte) ([]byte, error) {
	text, err := Trim(text)
	if err != nil {
		return nil, err
	}
	return DecodeTrimmed(text, true)
}

// DecodeURL decodes a text in the URL alphabet, unpadded, as cursors and tokens are.
func DecodeURL(text string) ([]byte, error) {
	return decode([]byte(text), url, true)
}

// Trim removes complete padding and refuses incomplete one.
func Trim(text []byte) ([]byte, error) {
	n := len(text)
	if n > 0 && text[n-1] == '=' {
		if n%4 != 0 {
			return nil, ErrText
		}
		n--
		if text[n-1] == '=' {
			n--
		}
	}
	if n%4 == 1 {
		return nil, ErrText
	}
	return text[:n], nil
}

// DecodeTrimmed decodes unpadded text in the standard or the URL alphabet. Unless tail
// is set, stray bits in the last character are accepted.
func DecodeTrimmed(text []byte, tail bool) ([]byte, error) {
	return decode(text, alphabetOf(text), tail)
}

func decode(text []byte, enc *encoding, tail bool) ([]byte, error) {
	if !sound(text, enc) {
		return nil, ErrText
	}
	want := Len(len(text))
	dst := make([]byte, want+room)
	// Where line breaks were skipped there are fewer bytes.
	if n, err := enc.Decode(dst, text); err != nil || n != want {
		return nil, ErrText
	}
	if tail {
		if err := checkTail(text); err != nil {
			return nil, err
		}
	}
	return dst[:want:want], nil
}

// sound reports whether text has a possible length and no character of the other
// alphabet, since the vector code reads both where it is told to read base64url.
func sound(text []byte, enc *encoding) bool {
	return len(text)%4 != 1 && (enc != url || bytes.IndexByte(text, '+') < 0 && bytes.IndexByte(text, '/') < 0)
}

// piece is how many characters Overwrite decodes at a time; a multiple of 4.
const piece = 32 << 10

// Overwrite is DecodeTrimmed into the memory of text, which is worth it for long ones.
// After an error the text is spoilt.
func Overwrite(text []byte, tail bool) ([]byte, error) {
	var stray error
	if tail {
		stray = checkTail(text) // before it is overwritten
	}
	enc := alphabetOf(text)
	if !sound(text, enc) {
		return nil, ErrText
	}
	dst := text[:0:len(text)]
	some := make([]byte, Len(piece)+room)
	for len(text) > 0 {
		src := text[:min(piece, len(text))]
		n, err := enc.Decode(some, src)
		if err != nil || n != Len(len(src)) {
			return nil, ErrText
		}
		// What is written is shorter than what was read.
		dst = append(dst, some[:n]...)
		text = text[len(src):]
	}
	if stray != nil {
		return nil, stray
	}
	return slices.Clip(dst), nil
}

// Append appends the standard, unpadded text of src.
func Append(dst, src []byte) []byte {
	n := std.EncodedLen(len(src))
	dst = slices.Grow(dst, n+room)
	at := len(dst)
	dst = dst[:at+n]
	std.Encode(dst[at:], src)
	return dst
}

// alphabetOf is the alphabet that text is written in, if it is written in one.
func alphabetOf(text []byte) *encoding {
	if bytes.IndexByte(text, '-') >= 0 || bytes.IndexByte(text, '_') >= 0 {
		return url
	}
	return std
}

// checkTail refuses bits in the last character that stand for nothing.
func checkTail(text []byte) error {
	if len(text)%4 == 0 {
		return nil
	}
	last := value(text[len(text)-1])
	if len(text)%4 == 2 && last&15 != 0 || len(text)%4 == 3 && last&3 != 0 {
		return ErrTail
	}
	return nil
}

// value is what a character stands for.
func value(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c - 'A'
	case c >= 'a' && c <= 'z':
		return c - 'a' + 26
	case c >= '0' && c <= '9':
		return c - '0' + 52
	case c == '+' || c == '-':
		return 62
	}
	return 63
}
