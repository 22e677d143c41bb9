package mlstest

import (
	"crypto/rand"
	"encoding/binary"

	"mls-server/internal/mls"
)

// encoder appends the wire format of RFC 9420 section 2.1 to itself.
type encoder []byte

func (e *encoder) u8(v uint8)   { *e = append(*e, v) }
func (e *encoder) u16(v uint16) { *e = binary.BigEndian.AppendUint16(*e, v) }
func (e *encoder) u32(v uint32) { *e = binary.BigEndian.AppendUint32(*e, v) }
func (e *encoder) u64(v uint64) { *e = binary.BigEndian.AppendUint64(*e, v) }
func (e *encoder) raw(b []byte) { *e = append(*e, b...) }

// vec appends opaque<V>.
func (e *encoder) vec(b []byte) {
	switch n := uint32(len(b)); { //nolint:gosec // no test makes 4 GiB
	case n < 1<<6:
		e.u8(uint8(n))
	case n < 1<<14:
		e.u16(0x4000 | uint16(n))
	default:
		e.u32(0x80000000 | n)
	}
	e.raw(b)
}

// list appends T<V>, whose elements f writes.
func (e *encoder) list(f func(*encoder)) {
	var sub encoder
	f(&sub)
	e.vec(sub)
}

func (e *encoder) u16s(v []uint16) {
	e.list(func(e *encoder) {
		for _, x := range v {
			e.u16(x)
		}
	})
}

func (e *encoder) extensions(list []Extension) {
	e.list(func(e *encoder) {
		for _, x := range list {
			e.u16(uint16(x.Type))
			e.vec(x.Data)
		}
	})
}

func wrap(format mls.WireFormat, body []byte) []byte {
	e := encoder{0, 1}
	e.u16(uint16(format))
	e.raw(body)
	return e
}

// Random returns n random bytes.
func Random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}
