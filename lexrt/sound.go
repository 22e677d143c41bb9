package lexrt

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"unicode/utf8"
)

// sound is a quick check of a whole text. It says yes only to what jsontext accepts: one value, by
// the grammar, in valid UTF-8, without a member that stands twice in its object. Of what is rare it
// is not sure, and says no: names with escapes, surrogates, many members, many levels. jsontext has
// the last word on that, and says what is wrong.
type sound struct {
	text []byte
	// names has the hashes of the names that were met in the objects that are open.
	names []uint64
	// arrays are the first ones that have items, in the order of the text; next is the first of
	// them that was not asked for.
	arrays []itemCount
	next   int
}

// itemCount is how many items the array has that begins at a position.
type itemCount struct{ at, n int }

const (
	maxSoundDepth   = 64
	maxSoundMembers = 64
	// maxCounted is how many arrays are counted.
	maxCounted = 1024
	// unsure is in place of a position.
	unsure = -1
)

func (s *sound) check(text []byte) bool {
	*s = sound{text: text, names: s.names[:0], arrays: s.arrays[:0]}
	at := s.value(s.space(0), 0)
	s.text = nil
	return at != unsure && passWhite(text, at) == len(text)
}

// items is how many items the array has that begins at a position, 0 when they were not counted. It
// is asked for arrays in the order of the text.
func (s *sound) items(at int) int {
	for s.next < len(s.arrays) && s.arrays[s.next].at < at {
		s.next++
	}
	if s.next < len(s.arrays) && s.arrays[s.next].at == at {
		return s.arrays[s.next].n
	}
	return 0
}

// space is the position after white space, unsure at the end of the text.
func (s *sound) space(at int) int {
	if at = passWhite(s.text, at); at == len(s.text) {
		return unsure
	}
	return at
}

func passWhite(text []byte, at int) int {
	for at < len(text) && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t' || text[at] == '\r') {
		at++
	}
	return at
}

// value is the position after the value that begins at the given one. All positions that are passed
// are within the text, or unsure.
func (s *sound) value(at, depth int) int {
	if at == unsure || depth == maxSoundDepth {
		return unsure
	}
	switch s.text[at] {
	case '{':
		return s.object(at+1, depth+1)
	case '[':
		return s.array(at+1, depth+1)
	case '"':
		at, _ = soundString(s.text, at+1)
		return at
	case 't':
		return s.literal(at, "true")
	case 'f':
		return s.literal(at, "false")
	case 'n':
		return s.literal(at, "null")
	}
	return soundNumber(s.text, at)
}

func (s *sound) literal(at int, want string) int {
	if end := at + len(want); end <= len(s.text) && string(s.text[at:end]) == want {
		return end
	}
	return unsure
}

func (s *sound) array(at, depth int) int {
	i := len(s.arrays)
	count := itemCount{at: at - 1}
	if at = s.space(at); at == unsure || s.text[at] == ']' {
		return after(at)
	}
	if i < maxCounted {
		s.arrays = append(s.arrays, count)
	}
	for n := 1; ; n++ {
		if at = s.value(at, depth); at == unsure {
			return unsure
		}
		switch at = s.space(at); {
		case at == unsure:
			return unsure
		case s.text[at] == ']':
			if i < maxCounted {
				s.arrays[i].n = n
			}
			return at + 1
		case s.text[at] != ',':
			return unsure
		}
		at = s.space(at + 1)
	}
}

func (s *sound) object(at, depth int) int {
	if at = s.space(at); at == unsure || s.text[at] == '}' {
		return after(at)
	}
	first, met := len(s.names), uint64(0)
	for {
		if at == unsure || s.text[at] != '"' {
			return unsure
		}
		end, escaped := soundString(s.text, at+1)
		if end == unsure || escaped {
			return unsure
		}
		hash := nameHash(s.text[at+1 : end-1])
		bit := uint64(1) << (hash * 0x9e3779b97f4a7c15 >> 58)
		if met&bit != 0 && slices.Contains(s.names[first:], hash) || len(s.names)-first >= maxSoundMembers {
			return unsure
		}
		met |= bit
		s.names = append(s.names, hash)
		if at = s.space(end); at == unsure || s.text[at] != ':' {
			return unsure
		}
		if at = s.value(s.space(at+1), depth); at == unsure {
			return unsure
		}
		switch at = s.space(at); {
		case at == unsure:
			return unsure
		case s.text[at] == '}':
			s.names = s.names[:first]
			return at + 1
		case s.text[at] != ',':
			return unsure
		}
		at = s.space(at + 1)
	}
}

// after is the position behind a byte.
func after(at int) int {
	if at == unsure {
		return unsure
	}
	return at + 1
}

// nameHash is the same for the same name. Short names have each another one.
func nameHash(name []byte) uint64 {
	n := len(name)
	switch {
	case n >= 8:
		return bits.RotateLeft64(binary.LittleEndian.Uint64(name), 29) ^ binary.LittleEndian.Uint64(name[n-8:]) ^ uint64(n)<<56
	case n >= 4:
		return uint64(binary.LittleEndian.Uint32(name)) | uint64(binary.LittleEndian.Uint32(name[n-4:]))<<32 ^ uint64(n)<<56
	case n > 0:
		return uint64(name[0]) | uint64(name[n/2])<<8 | uint64(name[n-1])<<16 | uint64(n)<<56
	}
	return 0
}

// soundString is the position behind the quote that ends the string, and whether it has escapes.
func soundString(text []byte, at int) (end int, escaped bool) {
	for {
		for at+8 <= len(text) {
			w := binary.LittleEndian.Uint64(text[at:])
			// Beyond ASCII, control characters, quotes, backslashes.
			found := (w|(w-ones*' ')&^w)&highs | zeros(w^ones*'"') | zeros(w^ones*'\\')
			if found != 0 {
				at += bits.TrailingZeros64(found) / 8
				break
			}
			at += 8
		}
		if at >= len(text) {
			return unsure, false
		}
		switch c := text[at]; {
		case c == '"':
			return at + 1, escaped
		case c == '\\':
			escaped = true
			if at = soundEscape(text, at+1); at == unsure {
				return unsure, false
			}
		case c < ' ':
			return unsure, false
		case c < utf8.RuneSelf:
			at++
		default:
			r, size := utf8.DecodeRune(text[at:])
			if r == utf8.RuneError && size == 1 {
				return unsure, false
			}
			at += size
		}
	}
}

// soundEscape is the position behind an escape whose backslash was passed.
func soundEscape(text []byte, at int) int {
	if at >= len(text) {
		return unsure
	}
	switch text[at] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return at + 1
	case 'u':
		if at+5 > len(text) {
			return unsure
		}
		for _, c := range text[at+1 : at+5] {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return unsure
			}
		}
		if text[at+1]|0x20 == 'd' { // a surrogate, perhaps
			return unsure
		}
		return at + 5
	}
	return unsure
}

// soundNumber is the position behind the number that begins at the given one.
func soundNumber(text []byte, at int) int {
	if text[at] == '-' {
		at++
	}
	whole := at
	if at = passDigits(text, at); at == whole || text[whole] == '0' && at > whole+1 {
		return unsure
	}
	if at < len(text) && text[at] == '.' {
		fraction := at + 1
		if at = passDigits(text, fraction); at == fraction {
			return unsure
		}
	}
	if at < len(text) && text[at]|0x20 == 'e' {
		at++
		if at < len(text) && (text[at] == '+' || text[at] == '-') {
			at++
		}
		power := at
		if at = passDigits(text, power); at == power {
			return unsure
		}
	}
	return at
}

func passDigits(text []byte, at int) int {
	for at < len(text) && text[at] >= '0' && text[at] <= '9' {
		at++
	}
	return at
}
