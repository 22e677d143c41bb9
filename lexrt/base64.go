package lexrt

import (
	"bytes"
	"errors"
	"slices"

	simd "github.com/segmentio/asm/base64"
)

var (
	errBase64     = errors.New("must be base64 without spaces or line breaks")
	errBase64Tail = errors.New("must be base64 without stray bits in the last character")
)

// base64Len returns how many bytes the unpadded base64 text of n characters stands for.
func base64Len(n int) int { return n/4*3 + n%4*3/4 }

// trimPadding removes complete padding and refuses incomplete one.
func trimPadding(src []byte) ([]byte, error) {
	n := len(src)
	if n > 0 && src[n-1] == '=' {
		if n%4 != 0 {
			return nil, errBase64
		}
		n--
		if src[n-1] == '=' {
			n--
		}
	}
	if n%4 == 1 {
		return nil, errBase64
	}
	return src[:n], nil
}

// decodeBase64 decodes unpadded base64 in the standard or the URL alphabet. With
// overwriteBase64 it is the one place where bytes are decoded, so the fast path
// is used everywhere.
func decodeBase64(src []byte, strictTail bool) ([]byte, error) {
	want := base64Len(len(src))
	dst := make([]byte, want+vectorRoom)
	if n, err := alphabetOf(src).Decode(dst, src); err != nil || n != want {
		return nil, errBase64
	}
	return dst[:want:want], checkTail(src, strictTail)
}

// vectorRoom is how far the vector code writes beyond the last byte, since it
// writes whole registers.
const vectorRoom = 32

const (
	// longText is from how many characters on a text of an owned body is overwritten.
	longText = 64 << 10
	// textPiece is how many characters are decoded at a time then; a multiple of 4.
	textPiece = 32 << 10
)

// overwriteBase64 decodes as decodeBase64 does, into the memory of src.
func overwriteBase64(src []byte, strictTail bool) ([]byte, error) {
	tail := checkTail(src, strictTail) // before it is overwritten
	enc := alphabetOf(src)
	dst := src[:0:len(src)]
	piece := make([]byte, base64Len(textPiece)+vectorRoom)
	for len(src) > 0 {
		text := src[:min(textPiece, len(src))]
		n, err := enc.Decode(piece, text)
		if err != nil || n != base64Len(len(text)) {
			return nil, errBase64
		}
		// What is written is shorter than what was read.
		dst = append(dst, piece[:n]...)
		src = src[len(text):]
	}
	return slices.Clip(dst), tail
}

// alphabetOf is the alphabet that src is written in, if it is written in one.
func alphabetOf(src []byte) *simd.Encoding {
	if bytes.IndexByte(src, '-') >= 0 || bytes.IndexByte(src, '_') >= 0 {
		return simd.RawURLEncoding
	}
	return simd.RawStdEncoding
}

// checkTail refuses bits in the last character that stand for nothing.
func checkTail(src []byte, strict bool) error {
	if !strict || len(src)%4 == 0 {
		return nil
	}
	last := base64Value(src[len(src)-1])
	if len(src)%4 == 2 && last&15 != 0 || len(src)%4 == 3 && last&3 != 0 {
		return errBase64Tail
	}
	return nil
}

func base64Value(c byte) byte {
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

// appendBase64 appends the standard, unpadded base64 of src.
func appendBase64(dst, src []byte) []byte {
	n := simd.RawStdEncoding.EncodedLen(len(src))
	dst = slices.Grow(dst, n+32)
	at := len(dst)
	dst = dst[:at+n]
	simd.RawStdEncoding.Encode(dst[at:], src)
	return dst
}
