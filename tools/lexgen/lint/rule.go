// Package lint checks lexicons against the style rules of the atproto community:
// what is valid but will be regretted. What makes a lexicon invalid is package
// lexicon's business.
//
// Every finding has a place (file, line, column, JSON pointer), the id of its
// rule and what to write instead. The package reads and never writes.
package lint

import "mls-server/tools/lexgen/lexicon"

// Rule is one rule of style.
type Rule struct {
	// ID is the stable name that findings carry.
	ID string
	// Severity is Error for what can never work, Warning for what will be regretted,
	// Note for what is worth a thought.
	Severity lexicon.Severity
	// Doc says what the rule asks for and why.
	Doc string
}

// Rules lists all rules in the order of their documentation.
func Rules() []Rule {
	return []Rule{
		{"description-missing", lexicon.Warning, "A query, procedure, subscription, record or token has a description: for a token it is the only meaning it has."},
		{"description-controls", lexicon.Error, "Texts have no control characters and none that change the writing direction: they can hide or forge what a reader sees."},
		{"nsid-case", lexicon.Warning, "The domain part of an NSID is lower case and its name starts with a small letter: some software compares them without regard to case."},
		{"nsid-group-clash", lexicon.Warning, "An NSID is not also the group of other NSIDs: many generators make a file and a folder, or a type and a namespace, of the same name."},
		{"defs-main", lexicon.Warning, "A lexicon named \"defs\" has no main definition: it is for shared definitions."},
		{"defs-name", lexicon.Warning, "A lexicon without a main definition is named \"defs\"."},
		{"name-case", lexicon.Warning, "Definitions and fields are named in lowerCamelCase with ASCII letters and digits, errors in UpperCamelCase."},
		{"name-verb", lexicon.Warning, "The name of a query starts with get, list, search or another reading verb, that of a procedure does not, that of a subscription starts with subscribe."},
		{"known-value-case", lexicon.Warning, "Known and enumerated values that are not tokens are written in kebab-case."},
		{"known-value-local", lexicon.Warning, "A token among known values is written with its whole name: \"#name\" means nothing outside the file."},
		{"enum-closed", lexicon.Note, "knownValues can grow later, an enum cannot."},
		{"union-closed", lexicon.Note, "An open union can grow later, a closed one cannot."},
		{"union-name-clash", lexicon.Warning, "The members of a union have names that differ in their last part: clients in many languages name cases after it."},
		{"ref-main", lexicon.Warning, "A reference to a main definition is the bare NSID: \"#main\" is never part of a $type."},
		{"ref-self", lexicon.Note, "A reference into the same file starts with #."},
		{"unused-def", lexicon.Warning, "A definition outside of a \"defs\" lexicon is used by something in the set."},
		{"object-empty", lexicon.Note, "An object names its properties; \"unknown\" says that anything may stand there."},
		{"object-inline", lexicon.Note, "An object inside an object is a definition of its own: it gets a name, and can be shared."},
		{"nullable-optional", lexicon.Warning, "A field is not both nullable and optional: absent and null would be two ways to say one thing."},
		{"boolean-default-true", lexicon.Warning, "A boolean is named so that its default is false: in many languages absent is false."},
		{"format-length", lexicon.Warning, "A string with a format has no length limits: the format has its own."},
		{"format-missing", lexicon.Warning, "A field whose name says that it holds a DID, a URI or a time has the format for it."},
		{"handle-in-record", lexicon.Warning, "Records refer to accounts by DID: a handle may belong to someone else tomorrow."},
		{"string-unbounded", lexicon.Warning, "A string that others send has a format, an enum or a maximal length."},
		{"string-large", lexicon.Warning, "A string in a record is at most 20 KiB; larger data is a blob."},
		{"bytes-unbounded", lexicon.Warning, "Bytes that others send have a maximal length."},
		{"bytes-large", lexicon.Warning, "Bytes in a record are at most 20 KiB; larger data is a blob."},
		{"array-unbounded", lexicon.Warning, "An array that others send has a maximal length."},
		{"blob-unbounded", lexicon.Warning, "A blob has a maximal size and names the media types it may have."},
		{"graphemes-without-bytes", lexicon.Warning, "maxGraphemes comes with a maxLength of several times its value: one grapheme can have any number of bytes."},
		{"integer-unsafe", lexicon.Warning, "Integers stay between -2^53 and 2^53: JavaScript has no others."},
		{"recursion-infinite", lexicon.Error, "A definition does not require itself: no finite value could satisfy it."},
		{"request-unbounded", lexicon.Warning, "The body of a request has a largest size, from its schema or from the policy."},
		{"output-missing", lexicon.Warning, "A query or procedure has an output, be it an empty object: an answer without a schema cannot get fields later."},
		{"output-object", lexicon.Warning, "The body of a request or answer is an object or a ref to one: nothing else can get fields later."},
		{"page-limit", lexicon.Warning, "The parameter limit is an optional integer with minimum, maximum and default."},
		{"page-cursor", lexicon.Warning, "The parameter cursor and the output cursor are optional strings and come together."},
		{"subscription-messages", lexicon.Warning, "A subscription has messages, and they are defined in its own file: their $type is the fragment."},
		{"permission-set-text", lexicon.Warning, "A permission set has a title, a detail and at least one permission: people read them before they agree."},
		{"permission-set-method", lexicon.Warning, "Where a group of lexicons has permission sets for methods, each of its methods is in one."},
	}
}
