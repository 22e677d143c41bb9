// Package breaking compares two versions of a set of lexicons and tells which
// changes break someone, and whom.
//
// What a change does depends on where values go. A limit that gets looser is
// safe in a request, since every old request stays valid, and breaks a response,
// since clients that check answers refuse the new ones. So every rule asks what
// the old version used the schema for. A definition that nothing in the set uses
// counts as used for everything: others may refer to it.
//
// The package reads and never writes; today's date is an argument.
package breaking

// Level says how bad a change is.
type Level uint8

// The levels, from the mildest up.
const (
	// Review changes break nobody who follows the rules, but someone should look at them.
	Review Level = iota + 1
	// Source changes keep the bytes and alter generated code: clients no longer compile.
	Source
	// Contract changes keep old software decoding, and break what it was promised.
	Contract
	// Wire changes make old software, or old data, be refused.
	Wire
)

// String returns the level's name in lower case.
func (l Level) String() string {
	switch l {
	case Review:
		return "review"
	case Source:
		return "source"
	case Contract:
		return "contract"
	case Wire:
		return "wire"
	}
	return "unknown"
}

// ParseLevel is the inverse of String.
func ParseLevel(s string) (Level, bool) {
	for l := Review; l <= Wire; l++ {
		if l.String() == s {
			return l, true
		}
	}
	return 0, false
}

// Rule is one kind of change.
type Rule struct {
	// ID is the stable name that findings and waivers carry.
	ID string
	// Doc says what changed and how bad that is, by direction.
	Doc string
}

// Rules lists all kinds of changes that are reported.
func Rules() []Rule {
	return []Rule{
		{"lexicon-removed", "A lexicon is gone. wire for methods and records, contract for definitions."},
		{"kind-changed", "A main definition has another primary type. wire."},
		{"def-removed", "A definition is gone; others may refer to it. contract."},
		{"type-changed", "A value has another type. wire."},
		{"ref-changed", "A reference names another definition, or a definition became inline. The structures are compared too; by itself source."},
		{"field-removed", "A field is gone. wire for a required field of responses and records, else contract."},
		{"field-added-required", "A new field is required. wire in requests and records, contract in responses."},
		{"field-required", "An optional field is now required. wire in requests and records, source in responses."},
		{"field-optional", "A required field is now optional. source in requests, wire in responses and records."},
		{"field-nullable", "A field may now be null. source in requests, wire in responses and records."},
		{"field-not-nullable", "A field may no longer be null. wire in requests and records, source in responses."},
		{"param-removed", "A parameter is gone: what clients ask for is ignored. contract."},
		{"param-added-required", "A new parameter is required. wire."},
		{"param-required", "An optional parameter is now required. wire."},
		{"param-optional", "A required parameter is now optional. source."},
		{"input-added", "A method that took no body now needs one. wire."},
		{"input-removed", "A method no longer takes a body. wire."},
		{"output-added", "A method that returned no body now returns one. review."},
		{"output-removed", "A method no longer returns a body. wire."},
		{"schema-added", "A body that had no schema now has one. wire in requests, review in responses."},
		{"schema-removed", "A body no longer has a schema. review in requests, wire in responses."},
		{"encoding-changed", "A body has another media type. wire."},
		{"message-removed", "A subscription no longer has messages. wire."},
		{"message-added", "A subscription that had no messages now has some. review."},
		{"subprotocol-changed", "A subscription speaks another subprotocol. wire."},
		{"error-removed", "A method no longer declares an error that clients may match on. contract."},
		{"error-added", "A method declares another error. review."},
		{"error-status-changed", "The policy gives an error another HTTP status. contract."},
		{"body-cap-lowered", "The policy accepts only smaller request bodies. wire."},
		{"union-member-removed", "A union lost a member. wire in requests and records, contract in responses."},
		{"union-member-added", "A closed union got a member. source in requests, wire in responses and records. Open unions may grow."},
		{"union-closed", "An open union is closed. wire in requests and records, source in responses."},
		{"union-opened", "A closed union is open. source in requests, wire in responses and records."},
		{"enum-added", "A value that was free is an enum. wire in requests and records, source in responses."},
		{"enum-dropped", "A value that was an enum is free. source in requests, wire in responses and records."},
		{"enum-value-removed", "An enum lost a value. wire in requests and records, source in responses."},
		{"enum-value-added", "An enum got a value. review in requests, wire in responses and records."},
		{"known-value-removed", "A known value is gone, and with it its constant in generated code. source."},
		{"const-added", "A value is now constant. wire in requests and records, review in responses."},
		{"const-removed", "A value is no longer constant. review in requests, wire in responses and records."},
		{"const-changed", "A constant has another value. wire."},
		{"default-changed", "A default has another value: whoever relies on it gets something else. review."},
		{"default-added", "A value now has a default. source."},
		{"default-removed", "A value no longer has a default. contract in requests, source in others."},
		{"limit-tightened", "A limit allows less. wire in requests and records, review in responses."},
		{"limit-loosened", "A limit allows more. review in requests, contract in responses, wire in records."},
		{"format-added", "A string has a format, or a narrower one. wire in requests and records, source in responses."},
		{"format-removed", "A string has no format, or a wider one. source in requests, contract in responses, wire in records."},
		{"format-changed", "A string has another format. wire."},
		{"accept-narrowed", "A blob may have fewer media types. wire in requests and records, review in responses."},
		{"accept-widened", "A blob may have more media types. review in requests, contract in responses and records."},
		{"record-key-changed", "Records have another type of key. wire."},
		{"permission-removed", "A permission set grants less: applications lose what they rely on. contract."},
		{"permission-added", "A permission set grants more to whoever has it already. review."},
	}
}
