// Package redact keeps identities out of logs (I9): a slog handler that lets
// nothing through but what it was told to.
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
	"encoding/hex"

	"mls-server/internal/shared"
)

// hashPrefix marks a hash in a log, so that nobody takes it for an identifier.
const hashPrefix = "h:"

// hash returns "h:" and 16 hexadecimal digits: equal for equal values under one
// secret, and of no use to those who do not have it.
func (h *Handler) hash(value string) string {
	sum := h.hasher.Sum(shared.PurposeLog, value)
	return hashPrefix + hex.EncodeToString(sum[:8])
}
