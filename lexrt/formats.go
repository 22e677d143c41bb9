package lexrt

import "github.com/bluesky-social/indigo/atproto/syntax"

// The string formats of the lexicon language as Go types. They are aliases of
// indigo's syntax types, so values move between libraries without conversion.
type (
	// AtIdentifier is a handle or a DID.
	AtIdentifier = syntax.AtIdentifier
	// ATURI is an at:// URI.
	ATURI = syntax.ATURI
	// Datetime is an RFC 3339 time as atproto restricts it, kept as its string.
	Datetime = syntax.Datetime
	// DID is a decentralized identifier.
	DID = syntax.DID
	// Handle is a domain name used as an account name.
	Handle = syntax.Handle
	// Language is a BCP 47 language tag.
	Language = syntax.Language
	// NSID is a namespaced identifier.
	NSID = syntax.NSID
	// RecordKey is the key of a record within a collection.
	RecordKey = syntax.RecordKey
	// TID is a timestamp identifier of 13 characters.
	TID = syntax.TID
	// URI is a generic URI.
	URI = syntax.URI
)
