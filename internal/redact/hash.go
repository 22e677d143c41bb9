// Package redact keeps identities out of logs (I9): a keyed hash for values
// that must be compared but not read, and a slog handler that lets nothing
// through but what it was told to.
//
// Invariants it keeps:
//   - a record carries only keys of the schema, each with the kind of value the
//     schema gives it; everything else is dropped and counted;
//   - strings pass only when they belong to a closed set, or as keyed hashes;
//   - errors pass as the types of their chain, because their texts quote values;
//   - messages are plain words, because a message is where formatted values end up;
//   - times are floored to two seconds, as those of stored messages are (I8).
//
// It must not be bypassed by another handler, and it must not grow a way to
// print arbitrary text.
package redact

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"sync"
)

// hashPrefix marks a hash in a log, so that nobody takes it for an identifier.
const hashPrefix = "h:"

// Hasher makes keyed hashes of identities. It is safe for concurrent use.
type Hasher struct{ secret []byte }

// NewHasher returns a hasher with the secret, or, when that is empty, with a
// random one that lasts as long as the process.
func NewHasher(secret []byte) *Hasher {
	if len(secret) == 0 {
		secret = make([]byte, 32)
		_, _ = rand.Read(secret) // never fails
	}
	return &Hasher{secret: append([]byte(nil), secret...)}
}

// HashForLog returns "h:" and 16 hexadecimal digits: equal for equal values
// under one secret, and of no use to those who do not have it. "" stays "".
func (h *Hasher) HashForLog(value string) string {
	if value == "" {
		return ""
	}
	mac := hmac.New(sha256.New, h.secret)
	_, _ = mac.Write([]byte("log"))
	_, _ = mac.Write([]byte(value))
	return hashPrefix + hex.EncodeToString(mac.Sum(nil)[:8])
}

var processHasher = sync.OnceValue(func() *Hasher { return NewHasher(nil) })

// HashForLog hashes with a random secret of this process: hashes can be compared
// within one run and with nothing else.
func HashForLog(value string) string { return processHasher().HashForLog(value) }
