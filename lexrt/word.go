package lexrt

import (
	"encoding/binary"
	"math/bits"
)

// Eight bytes are looked at at a time, as the bytes of one word: ones has the
// lowest bit of each set, highs the highest.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeros marks the bytes of w that are zero by their highest bit. Marks above the
// lowest one may be wrong.
func zeros(w uint64) uint64 { return (w - ones) &^ w & highs }

// plain reports whether s is its own JSON text: printable ASCII without quotes and backslashes.
func plain(s string) bool {
	for len(s) >= 8 {
		w := uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 |
			uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
		control := (w - ones*' ') &^ w
		beyond := w | (w + ones) // 0x7f and above
		if (control|beyond)&highs|zeros(w^ones*'"')|zeros(w^ones*'\\') != 0 {
			return false
		}
		s = s[8:]
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// special is the position of the first quote or backslash from at on, or stop.
func special(text []byte, at, stop int) int {
	for ; at+8 <= stop; at += 8 {
		w := binary.LittleEndian.Uint64(text[at:])
		if found := zeros(w^ones*'"') | zeros(w^ones*'\\'); found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
	}
	for at < stop && text[at] != '"' && text[at] != '\\' {
		at++
	}
	return at
}
