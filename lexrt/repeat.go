package lexrt

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// repeats holds strings that were read within arrays, where items often have
// values in common, so that one string serves them all.
type repeats [256]string

// maxRepeat is the length in bytes up to which strings are looked up.
const maxRepeat = 64

var repeatsPool = sync.Pool{New: func() any { return new(repeats) }}

// cleared forgets the strings, which are a caller's.
func (r *repeats) cleared() *repeats {
	*r = repeats{}
	return r
}

// copied returns text as a string of its own.
func (f *Fields) copied(text []byte) string {
	// The place of an item's member is at least: the array, the item, the member.
	if len(f.place) < 3 || len(text) < 8 || len(text) > maxRepeat {
		return string(text)
	}
	if f.repeats == nil {
		var ok bool
		if f.repeats, ok = repeatsPool.Get().(*repeats); !ok {
			f.repeats = new(repeats)
		}
	}

	first, last := binary.LittleEndian.Uint64(text), binary.LittleEndian.Uint64(text[len(text)-8:])
	h := (bits.RotateLeft64(first, 17) ^ last ^ uint64(len(text))) * 0x9e3779b97f4a7c15
	slot := &f.repeats[h>>56]
	if *slot != string(text) {
		*slot = string(text)
	}
	return *slot
}
