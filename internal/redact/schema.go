package redact

import (
	"maps"
	"regexp"
	"slices"
)

// Schema is the closed set of what may stand in a log.
type Schema struct {
	// Numbers are keys of integers, floats, booleans and durations.
	Numbers []string
	// Words are keys of strings out of a closed set.
	Words map[string][]string
	// Patterns are keys of strings that the server itself makes in a fixed form.
	Patterns map[string]*regexp.Regexp
	// Errors are keys of errors, written as the types of their chain.
	Errors []string
}

// The key under which a record says how many of its attributes were dropped.
const keyWithheld = "withheld"

// BaseSchema returns exactly the keys that the server logs: a test compares it
// with the source, so that a key which nobody uses is not a way out. The words
// of method and error_name come from the method table; the caller adds them.
func BaseSchema() Schema {
	return Schema{
		Numbers: []string{"bytes_in", "bytes_out", "duration_us", "status"},
		Words: map[string][]string{
			"component": {"app", "jetstream", "jobs", "redis"}, "refusal": RedisRefusals(), "method": nil, "error_name": nil,
		},
		Patterns: map[string]*regexp.Regexp{"request_id": regexp.MustCompile(`^[0-9a-f]{16}$`)},
		Errors:   []string{"err", "fault"},
	}
}

// RedisRefusals are the words that Redis begins a refusal with.
func RedisRefusals() []string {
	return []string{
		"ASK", "BUSY", "CLUSTERDOWN", "CROSSSLOT", "ERR", "LOADING", "MASTERDOWN", "MISCONF", "MOVED", "NOAUTH", "NOPERM", "NOREPLICAS", "OOM",
		"READONLY", "WRONGPASS",
	}
}

// With returns the schema with the words added to a key's closed set.
func (s Schema) With(key string, words ...string) Schema {
	s.Words = maps.Clone(s.Words)
	if s.Words == nil {
		s.Words = map[string][]string{}
	}
	s.Words[key] = append(slices.Clone(s.Words[key]), words...)
	return s
}
