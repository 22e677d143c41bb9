//go:build purego

package lexbase64

import "encoding/base64"

type encoding = base64.Encoding

var std, url = base64.RawStdEncoding, base64.RawURLEncoding

const room = 0
