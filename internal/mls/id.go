package mls

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"
	"github.com/oklog/ulid/v2"
)

// Identifiers. No bare string or int64 crosses a package boundary of this project.
type (
	// DID identifies a user account.
	DID = syntax.DID
	// ConvoID identifies a conversation: a TID made by this server, 13 characters.
	ConvoID string
	// GroupID is the MLS group id of a conversation as lower-case hex of even length.
	GroupID string
	// DeviceID identifies a registered device: a UUID in its 36-character form, "" for a
	// user without devices.
	DeviceID string
	// MessageID identifies a message within its conversation: a ULID, 26 characters, or a UUID, 36.
	MessageID string
	// Epoch is an MLS epoch. RFC 9420 has 64 unsigned bits, storage has 63; the parser refuses
	// more.
	Epoch int64
	// Generation counts the MLS groups of a conversation, from 0.
	Generation int64
	// Seq is a position in a conversation's gapless sequence, from 1.
	Seq int64
)

const (
	// MaxGroupIDLen is the longest group id of a conversation, in hex characters.
	MaxGroupIDLen = 128
	// idGrain is how coarse the time in an id made here is (I8). It equals clock.BucketSize,
	// which this package, importing nothing of ours, cannot name.
	idGrain = 2 * time.Second
)

// UniqueDIDs returns the DIDs without repeats, in their order.
func UniqueDIDs(dids []DID) []DID {
	seen := make(map[DID]struct{}, len(dids))
	return slices.DeleteFunc(slices.Clone(dids), func(d DID) bool {
		_, again := seen[d]
		seen[d] = struct{}{}
		return again
	})
}

// Tombstone is the DID that stands in a conversation where an erased account was named. It resolves
// to nothing. One salt gives each conversation its own, and none leads to another once the salt is
// forgotten.
func Tombstone(salt []byte, convo ConvoID) DID {
	mac := hmac.New(sha256.New, salt)
	mac.Write([]byte(convo)) // never fails
	name := base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(mac.Sum(nil)[:tombstoneBytes])
	return DID("did:web:" + strings.ToLower(name) + ".erased.invalid")
}

// tombstoneBytes are as many as nobody guesses, and fit into a label of a host name.
const tombstoneBytes = 20

// NewConvoID returns the id of a new conversation around a group: a TID whose time
// is floored to 2 seconds, with random bits in place of the finer time, and whose
// clock id is the group's shard (ADR 25). The database's primary key settles the
// collision that may come once in a lifetime.
func NewConvoID(now time.Time, first GroupID) ConvoID {
	var b [8]byte
	rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	micros := now.Truncate(idGrain).UnixMicro() + int64(binary.BigEndian.Uint64(b[:])%uint64(idGrain/time.Microsecond))
	return ConvoID(syntax.NewTID(micros, first.Shard()))
}

// Shard is ten bits, 0 to 1023, that a conversation's first group id and its id have in common: the
// first ten bits of the SHA-256 of the raw group id, and the clock id of the TID (ADR 25).
func (g GroupID) Shard() uint {
	raw, err := hex.DecodeString(string(g))
	if err != nil {
		raw = []byte(g) // not a group id: the text will do
	}
	sum := sha256.Sum256(raw)
	return uint(binary.BigEndian.Uint16(sum[:]) >> 6)
}

// Shard is GroupID.Shard of the conversation's first group id, read from the id; 0 for what is no
// TID.
func (c ConvoID) Shard() uint {
	tid, err := syntax.ParseTID(string(c))
	if err != nil {
		return 0
	}
	return tid.ClockID()
}

// ConvoKey is what a client may put where a convoId is asked for: exactly one of
// the two is set.
type ConvoKey struct {
	ConvoID ConvoID
	GroupID GroupID
}

// ParseConvoKey tells a conversation id (a TID, 13 characters) from a group id
// (hex of even length), which is lower-cased. Anything else is ErrInvalidConvoID.
func ParseConvoKey(s string) (ConvoKey, error) {
	if _, err := syntax.ParseTID(s); err == nil {
		return ConvoKey{ConvoID: ConvoID(s)}, nil
	}
	g, err := ParseGroupID(s)
	if err != nil {
		return ConvoKey{}, ErrInvalidConvoID
	}
	return ConvoKey{GroupID: g}, nil
}

// ParseGroupID checks and lower-cases a group id: hex of even length, 2 to 128
// characters. The error is ErrInvalidGroupID.
func ParseGroupID(s string) (GroupID, error) {
	if s == "" || len(s)%2 != 0 || len(s) > MaxGroupIDLen {
		return "", ErrInvalidGroupID
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c >= 'a' && c <= 'f', c >= 'A' && c <= 'F':
		default:
			return "", ErrInvalidGroupID
		}
	}
	return GroupID(strings.ToLower(s)), nil
}

// GroupIDFromBytes returns the group id of an MLS object's raw group_id.
func GroupIDFromBytes(b []byte) GroupID { return GroupID(hex.EncodeToString(b)) }

// Is reports whether raw is this group id, without allocating.
func (g GroupID) Is(raw []byte) bool {
	if len(g) != 2*len(raw) {
		return false
	}
	const digits = "0123456789abcdef"
	for i, b := range raw {
		if g[2*i] != digits[b>>4] || g[2*i+1] != digits[b&15] {
			return false
		}
	}
	return true
}

// NewMessageID returns the id of a message that the server makes: a ULID whose
// time is floored to 2 seconds (I8) and whose other 80 bits are random.
func NewMessageID(now time.Time) MessageID {
	var id ulid.ULID
	rand.Read(id[:])
	// A time outside of the 48 bits would be a clock in the year 10889 or before 1970.
	_ = id.SetTime(uint64(now.Truncate(idGrain).UnixMilli()))
	return MessageID(id.String())
}

// ParseMessageID checks a client's message id: a ULID, 26 Crockford base32
// characters of either case whose first is at most 7, or a UUID of any version, 36
// characters of either case. It is kept as it came. The error is ErrInvalidMessageID.
func ParseMessageID(s string) (MessageID, error) {
	if _, err := ulid.ParseStrict(s); err != nil && !isUUID(s) {
		return "", ErrInvalidMessageID
	}
	return MessageID(s), nil
}

// isUUID reports whether s is a UUID in the form of RFC 9562, 8-4-4-4-12 hex digits.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch i {
		case 8, 13, 18, 23:
			if c != '-' {
				return false
			}
		default:
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return false
			}
		}
	}
	return true
}
