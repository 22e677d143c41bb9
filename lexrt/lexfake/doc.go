// Package lexfake makes JSON values from lexicon schemas for tests: values that
// satisfy every constraint, and values that break exactly one, with the pointer
// and the rule that a decoder must report. lexgen writes the schemas as Go values.
//
// The values follow from the schema and the random source alone. The package is
// for tests; nothing in a server needs it.
package lexfake
