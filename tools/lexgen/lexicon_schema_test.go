package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"mls-server/tools/lexgen/explain"
)

// TestLexiconSchema: the published schema accepts the official lexicons, and what lexgen explain
// has for right; it refuses what one place alone shows to be wrong.
func TestLexiconSchema(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := run([]string{"schema", "lexicon"}, &out, &errs); code != 0 {
		t.Fatal(errs.String())
	}
	golden(t, "lexicon.schema.json", out.Bytes())
	doc, err := jsonschema.UnmarshalJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("lexicon.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("lexicon.json")
	if err != nil {
		t.Fatal(err)
	}
	judge := func(lexicon []byte) error {
		var v any
		if err := json.Unmarshal(lexicon, &v); err != nil {
			return err
		}
		return schema.Validate(v)
	}
	n := 0
	for _, s := range corpus(t) {
		if err := judge(s.Data); err != nil {
			t.Errorf("%s: %v", s.Path, err)
		}
		n++
	}
	if n < 300 {
		t.Errorf("only %d lexicons", n)
	}
	beyond := []string{ // what one place alone does not show, or what is a warning
		"accept", "const", "def-name", "default", "default-const", "duplicate", "encoding", "enum-value", "error-duplicate", "id-duplicate",
		"id-path", "import-cycle", "import-union", "key", "limits", "message-schema", "name-collision", "nullable",
		"permission-action", "permission-aud", "permission-collection", "permission-lxm", "permission-parameter", "permission-resource", "policy", "property-name", "property-type",
		"query-input", "ref-syntax", "ref-target", "ref-unknown", "required", "space", "translation", "type-unknown", "union-empty", "union-member", "unknown-key",
		"format-unknown",
	}
	for _, r := range explain.Rules() {
		if text, ok := wholeFile(r.Right); ok {
			if err := judge([]byte(text)); err != nil {
				t.Errorf("%s, right: %v", r.Code, err)
			}
		}
		text, ok := wholeFile(r.Wrong)
		if !ok {
			continue
		}
		if err := judge([]byte(text)); (err == nil) != slices.Contains(beyond, r.Code) {
			t.Errorf("%s, wrong: %v\n%s", r.Code, err, text)
		}
	}
}

// wholeFile is an example as a lexicon, as the tests of explain make one of it.
func wholeFile(e explain.Example) (string, bool) {
	const prefix, suffix = `{"lexicon": 1, "id": "com.example.thing", "defs": {"main": `, `}}`
	text := strings.Join(e.Lines, "\n")
	switch e.Kind {
	case "def":
		return prefix + text + suffix, true
	case "field":
		return prefix + `{"type": "object", "properties": {"a": ` + text + `}}` + suffix, true
	case "file":
		return text, json.Valid([]byte(text))
	}
	return "", false
}
