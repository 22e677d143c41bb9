// Package shared holds what the servers of a deployment share, or keep for
// themselves while they cannot: keyed hashes, bounded memory, and the way to a
// shared store that may be away. What is remembered, and for how long, is the
// business of auth and ratelimit.
//
// Invariants it keeps:
//   - memory is bounded, however many keys there are;
//   - a store that failed is left alone for a second, and a caller who left says
//     nothing about a store;
//   - nothing that leaves the process for a shared store is a value of a user:
//     keys are keyed hashes, and a hash of one purpose is of no use for another
//     (I7, I9).
//
// It must not log, read the environment, or know what its callers count.
package shared

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"sync"
)

// MinSecret is the length of the shortest secret of a Hasher, in bytes.
const MinSecret = 16

// Purpose says what a hash is for. No purpose is the beginning of another.
type Purpose string

// The purposes of hashes.
const (
	// PurposeToken is that of used tokens: issuer and jti.
	PurposeToken Purpose = "jti"
	// PurposeRate is that of limits: class and subject.
	PurposeRate Purpose = "rate"
	// PurposePlaces is that of what users hold open.
	PurposePlaces Purpose = "open"
	// PurposeLog is that of identities in logs.
	PurposeLog Purpose = "log"
	// PurposeTicket is that of used tickets, PurposeTicketKey that of the key that seals them.
	PurposeTicket    Purpose = "used-ticket"
	PurposeTicketKey Purpose = "key-of-tickets"
	// PurposeTurn is that of turns after a race: conversation and user.
	PurposeTurn Purpose = "turn"
)

// Hasher makes keyed hashes: HMAC-SHA256 under a secret that all servers of a
// deployment share. It is safe for concurrent use.
type Hasher struct{ macs sync.Pool }

// NewHasher returns a hasher, or an error when the secret is shorter than MinSecret.
func NewHasher(secret []byte) (*Hasher, error) {
	if len(secret) < MinSecret {
		return nil, errors.New("shared: the hash secret is shorter than 16 bytes")
	}
	secret = append([]byte(nil), secret...)
	return &Hasher{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, secret) }}}, nil
}

// Sum hashes parts for a purpose. Each part but the last is preceded by its
// length, so that no two lists of parts share a hash.
func (h *Hasher) Sum(purpose Purpose, parts ...string) [sha256.Size]byte {
	text := append(make([]byte, 0, 192), purpose...)
	for i, part := range parts {
		if i < len(parts)-1 {
			text = binary.BigEndian.AppendUint64(text, uint64(len(part)))
		}
		text = append(text, part...)
	}
	mac, _ := h.macs.Get().(hash.Hash)
	defer h.macs.Put(mac)
	mac.Reset()
	mac.Write(text)
	return [sha256.Size]byte(mac.Sum(text[:0]))
}
