package lexrt

import "strings"

// Record is what pointers to generated records implement.
type Record interface {
	Lexer
	Response
	UnmarshalJSON(src []byte) error
	Validate() error
}

// DecodeRecord reads and validates a record of one of several collections, which its $type names.
// Generated packages with records have a DecodeRecord of their own, for theirs.
func DecodeRecord(src []byte, collections *Union[Record]) (Record, error) {
	var r Record
	err := decodeValue(src, "record", option{record: true}, &r, func(f *Fields, v *Record) { UnionValue(f, v, collections) })
	return r, err
}

// CheckRecordKey checks the key of a record by the rule of its collection, as lexicons spell it:
// "tid", "nsid", "any" or "literal:" and the one key. The error is an *InvalidError.
func CheckRecordKey(rule, key string) error {
	problem := ""
	literal, isLiteral := strings.CutPrefix(rule, "literal:")
	switch {
	case isLiteral && key != literal:
		problem = "must be " + literal
	case rule == "tid" && !FormatTID.Valid(key):
		problem = "must be a valid tid"
	case rule == "nsid" && !FormatNSID.Valid(key):
		problem = "must be a valid nsid"
	case !FormatRecordKey.Valid(key):
		problem = "must be a valid record-key"
	}
	if problem == "" {
		return nil
	}
	return &InvalidError{What: "record key", Issues: []Issue{{Rule: "key", Problem: problem}}}
}
