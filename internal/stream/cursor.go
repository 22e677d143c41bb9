package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"

	"mls-server/internal/store"
	"mls-server/lexrt/lexbase64"
)

// ErrBadCursor is returned for a cursor that this log never gave out.
var ErrBadCursor = errors.New("stream: not a cursor of this log")

// cursors turns positions into cursors and back. A cursor is one AES block
// over a position under the log's key, so it tells a client nothing, and a
// made-up one seldom decrypts to what a real one holds.
//
// The block of a generation whose number is a time: generation (32 bits),
// transaction id (44), position (44), mark (8). 44 bits last for 5 years at
// 100,000 events a second.
//
// Generations before that were counted from 1. Their form is generation (16
// bits), transaction id (48), position (48), zeros (16), and its first 32 bits
// are below any generation of the other.
type cursors struct{ block cipher.Block }

const (
	wideGenerationMin = 1 << 30 // as in BeginLogGeneration
	wideGenerationMax = 1<<32 - 1
	wideCountMax      = 1<<wideCountBits - 1
	wideCountBits     = 44
	wideLowBits       = wideCountBits - 32 // of the transaction id, beside the position
	wideMark          = 0x5c

	oldGenerationMax = wideGenerationMin>>16 - 1
	oldCountMax      = 1<<48 - 1
)

// cursorLen is how many characters the 16 bytes of a block take.
const cursorLen = 22

func newCursors(key []byte) (*cursors, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("stream: the log's cursor key: %w", err)
	}
	return &cursors{block}, nil
}

// encode returns the cursor that resumes after p: 22 characters of base64url.
func (c *cursors) encode(p store.LogCursor) string {
	generation, xid, position := uint64(p.Generation), uint64(p.Xid), uint64(p.Position) //nolint:gosec // never negative
	var b [aes.BlockSize]byte
	if generation < wideGenerationMin {
		binary.BigEndian.PutUint64(b[0:], generation<<48|xid)
		binary.BigEndian.PutUint64(b[8:], position<<16)
	} else {
		binary.BigEndian.PutUint64(b[0:], generation<<32|xid>>wideLowBits)
		binary.BigEndian.PutUint64(b[8:], xid<<(64-wideLowBits)|position<<8|wideMark)
	}
	c.block.Encrypt(b[:], b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// decode returns the position of a cursor, or ErrBadCursor.
func (c *cursors) decode(s string) (store.LogCursor, error) {
	if len(s) != cursorLen {
		return store.LogCursor{}, ErrBadCursor
	}
	b, err := lexbase64.DecodeURL(s)
	if err != nil {
		return store.LogCursor{}, ErrBadCursor
	}
	c.block.Decrypt(b, b)
	first, second := binary.BigEndian.Uint64(b[0:]), binary.BigEndian.Uint64(b[8:])
	var generation, xid, position uint64
	switch generation = first >> 32; {
	case generation >= wideGenerationMin && second&0xff == wideMark:
		xid, position = first&(1<<32-1)<<wideLowBits|second>>(64-wideLowBits), second>>8&wideCountMax
	case generation < wideGenerationMin && second&0xffff == 0:
		generation, xid, position = first>>48, first&oldCountMax, second>>16
	default:
		return store.LogCursor{}, ErrBadCursor
	}
	return store.LogCursor{Generation: int64(generation), Xid: int64(xid), Position: int64(position)}, nil
}
