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

// decodeBase64 decodes unpadded base64 in the standard or the URL alphabet. It
// is the one place where bytes are decoded, so the fast path is used everywhere.
func decodeBase64(src []byte, strictTail bool) ([]byte, error) {
	enc := simd.RawStdEncoding
	if bytes.IndexByte(src, '-') >= 0 || bytes.IndexByte(src, '_') >= 0 {
		enc = simd.RawURLEncoding
	}
	want := base64Len(len(src))
	// The vector code writes whole registers, so it gets room beyond the last byte.
	dst := make([]byte, want+32)
	n, err := enc.Decode(dst, src)
	if err != nil || n != want {
		return nil, errBase64
	}
	if strictTail && len(src)%4 != 0 {
		last := base64Value(src[len(src)-1])
		if len(src)%4 == 2 && last&15 != 0 || len(src)%4 == 3 && last&3 != 0 {
			return nil, errBase64Tail
		}
	}
	return dst[:want:want], nil
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
