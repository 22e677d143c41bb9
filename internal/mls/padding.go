package mls

import (
	"bytes"
	"encoding/binary"
)

// Padding says how a message was found in a padded ciphertext.
type Padding uint8

// The forms that existing clients write.
const (
	// PaddingOpaque: no MLSMessage was found; the bytes mean something to clients only.
	PaddingOpaque Padding = iota
	// PaddingDirect: the MLSMessage, then zeros.
	PaddingDirect
	// PaddingPrefixed: a 4-byte big-endian length, the MLSMessage, then zeros.
	PaddingPrefixed
)

// String returns "opaque", "direct" or "prefixed".
func (p Padding) String() string {
	switch p {
	case PaddingDirect:
		return "direct"
	case PaddingPrefixed:
		return "prefixed"
	case PaddingOpaque:
	}
	return "opaque"
}

// UnwrapPadding looks for an MLSMessage in a padded ciphertext: direct form first,
// since a length of 65538 looks like the header of a PrivateMessage. What is neither form is
// PaddingOpaque with a nil message, never an error. The message refers to b.
func UnwrapPadding(b []byte) (*Message, Padding) {
	box := new(parsed)
	r := newReader(b, &box.fail)
	if box.read(&r); r.ok() && allZero(r.rest) {
		return &box.message, PaddingDirect
	}
	if len(b) < 4 {
		return nil, PaddingOpaque
	}
	n := int64(binary.BigEndian.Uint32(b))
	if n > int64(len(b)-4) || !allZero(b[4+n:]) {
		return nil, PaddingOpaque
	}
	m, err := ParseMessage(b[4 : 4+n : 4+n])
	if err != nil {
		return nil, PaddingOpaque
	}
	return m, PaddingPrefixed
}

// allZero compares b with itself, moved by one byte, which runs at the speed of memory.
func allZero(b []byte) bool {
	return len(b) == 0 || b[0] == 0 && bytes.Equal(b[:len(b)-1], b[1:])
}
