//go:build !purego

package lexbase64

import "github.com/segmentio/asm/base64"

type encoding = base64.Encoding

var std, url = base64.RawStdEncoding, base64.RawURLEncoding

// room is how far the vector code writes beyond the last byte, since it writes
// whole registers.
const room = 32
