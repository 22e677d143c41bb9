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
	// Identities are keys of strings that are written as HashForLog of their value.
	Identities []string
	// Errors are keys of errors, written as the types of their chain.
	Errors []string
	// Sentinels are errors whose texts are constants that may be written.
	Sentinels []error
}

// The key under which a record says how many of its attributes were dropped.
const keyWithheld = "withheld"

// BaseSchema returns the keys that every part of the server may use. The words
// of method and error_name come from the method table; the caller adds them.
func BaseSchema() Schema {
	return Schema{
		Numbers: []string{
			"status", "duration_us", "duration_ms", "bytes_in", "bytes_out", "count", "rows", "batch", "attempt", "lag_ms",
			"port", "admin_port", "streams", "connections", "version", "from_version", "to_version", "retries", "pid", "limit",
			"dropped", "schema_version", "wanted_version", "ok", "exit_code", "timeout_ms",
		},
		Words: map[string][]string{
			"component": {
				"app", "auth", "blocks", "bus", "config", "egress", "handlers", "http", "admin", "jobs", "migrate", "metrics", "ratelimit",
				"redis", "store", "stream", "tailer", "xrpc", "retention", "jetstream",
			},
			"mode":   {"production", "development"},
			"signal": {"interrupt", "terminated"},
			"phase":  {"start", "ready", "drain", "stop"},
			"result": {"ok", "failed", "skipped", "canceled", "timeout"},
			"job":    {"messages", "events", "commits", "welcomes", "idempotency", "jtis", "blocks", "partitions", "key_packages", "requests", "conversations"},
		},
		Patterns: map[string]*regexp.Regexp{
			"request_id": regexp.MustCompile(`^[0-9a-f]{16}$`),
			"fault":      regexp.MustCompile(`^` + typeName + `(?: < ` + typeName + `){0,8}$`),
			"go_version": regexp.MustCompile(`^go[0-9]+\.[0-9]+(?:\.[0-9]+)?$`),
			"revision":   regexp.MustCompile(`^[0-9a-f]{7,40}(?:-dirty)?$`),
		},
		Identities: []string{"did", "convo", "group", "message", "device", "subject"},
		Errors:     []string{"err", "fault", "cause"},
	}
}

// typeName is what %T prints for a named type, with an SQLSTATE behind it if need be.
const typeName = `\*?[a-z][a-z0-9_]*\.[A-Za-z][A-Za-z0-9_]*(?:\([0-9A-Z]{5}\))?`

// With returns the schema with the words added to a key's closed set.
func (s Schema) With(key string, words ...string) Schema {
	s.Words = maps.Clone(s.Words)
	if s.Words == nil {
		s.Words = map[string][]string{}
	}
	s.Words[key] = append(slices.Clone(s.Words[key]), words...)
	return s
}

// WithNumbers returns the schema with keys of numbers added.
func (s Schema) WithNumbers(keys ...string) Schema {
	s.Numbers = append(slices.Clone(s.Numbers), keys...)
	return s
}

// WithSentinels returns the schema with errors added whose texts may be written.
func (s Schema) WithSentinels(errs ...error) Schema {
	s.Sentinels = append(slices.Clone(s.Sentinels), errs...)
	return s
}
