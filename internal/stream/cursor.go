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
// made-up one almost never decrypts to the zeros that a real one holds.
//
// The block: generation (2 bytes), transaction id (6), position (6), zeros (2).
// Six bytes last for 89 years at 100,000 events a second.
type cursors struct{ block cipher.Block }

const (
	cursorGenerationMax = 1<<16 - 1
	cursorCountMax      = 1<<48 - 1
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
	var b [aes.BlockSize]byte
	binary.BigEndian.PutUint64(b[0:], uint64(p.Generation)<<48|uint64(p.Xid)) //nolint:gosec // not negative, see the limits above
	binary.BigEndian.PutUint64(b[8:], uint64(p.Position)<<16)                 //nolint:gosec // likewise
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
	if second&0xffff != 0 {
		return store.LogCursor{}, ErrBadCursor
	}
	return store.LogCursor{
		Generation: int64(first >> 48),
		Xid:        int64(first & cursorCountMax),
		Position:   int64(second >> 16),
	}, nil
}
