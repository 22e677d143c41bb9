package mls

import "github.com/bluesky-social/indigo/atproto/syntax"

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
	// MessageID identifies a message within its conversation: a ULID, 26 characters.
	MessageID string
	// Epoch is an MLS epoch. RFC 9420 has 64 unsigned bits, storage has 63; the parser refuses more.
	Epoch int64
	// Seq is a position in a conversation's gapless sequence, from 1.
	Seq int64
)
