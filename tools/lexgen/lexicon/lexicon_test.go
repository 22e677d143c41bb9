package lexicon_test

import (
	"strings"
	"testing"

	"mls-server/tools/lexgen/lexicon"
)

// parse reads one lexicon whose main definition is an object with the property.
func parse(t *testing.T, property string) lexicon.Diags {
	t.Helper()
	text := `{"lexicon": 1, "id": "com.example.thing", "defs": {"main": {"type": "object", "properties": {"p": ` + property + `}}}}`
	_, diags := lexicon.Parse([]lexicon.Source{{Path: "com/example/thing.json", Data: []byte(text)}}, lexicon.Options{})
	return diags
}

// TestDeepNesting: a file that is nested too deeply is one problem with a place,
// not a deep stack.
func TestDeepNesting(t *testing.T) {
	t.Parallel()
	nested := func(levels int) string {
		return strings.Repeat(`{"type": "array", "items": `, levels) + `{"type": "boolean"}` + strings.Repeat("}", levels)
	}
	// The file, "defs", "main", "properties", the innermost item and its type are six levels more,
	// counted from 0.
	if diags := parse(t, nested(195)); diags.HasErrors() {
		t.Errorf("a value at level 200 is refused: %v", diags)
	}
	for _, levels := range []int{196, 5_000} {
		diags := parse(t, nested(levels))
		if len(diags) != 1 || diags[0].Rule != "json" || !strings.Contains(diags[0].Message, "nested too deeply") || diags[0].Line != 1 {
			t.Errorf("%d levels: %v", levels, diags)
		}
	}
}

// TestDuplicatesInLists: a value that is listed twice is a warning at the second place.
func TestDuplicatesInLists(t *testing.T) {
	t.Parallel()
	for property, want := range map[string]string{
		`{"type": "string", "enum": ["a", "b", "a"]}`:        `"a" is listed twice`,
		`{"type": "string", "knownValues": ["a", "a"]}`:      `"a" is listed twice`,
		`{"type": "blob", "accept": ["image/*", "image/*"]}`: `"image/*" is listed twice`,
		`{"type": "integer", "enum": [1, 2, 1]}`:             "1 is listed twice",
	} {
		diags := parse(t, property)
		if len(diags) != 1 || diags[0].Rule != "duplicate" || diags[0].Severity != lexicon.Warning || diags[0].Message != want {
			t.Errorf("%s: %v", property, diags)
		}
	}
}

// TestOtherHabits: what other languages and editors do is told with what to write here.
func TestOtherHabits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ text, want string }{
		{`{"lexicon": 1, "id": "com.example.thing", "defs": {"main": {"type": "object", "properties": {"p": {"type": "string", "nullable": true}}}}}`, `list "p" in the "nullable" of the object`},
		{`{"lexicon": 1, "id": "com.example.thing", "defs": {"main": {"type": "object", "properties": {"p": {"type": "string", "required": true}}}}}`, `list "p" in the "required" of the object`},
		{"\ufeff" + `{"lexicon": 1, "id": "com.example.thing", "defs": {"main": {"type": "token"}}}`, "byte order mark"},
	} {
		_, diags := lexicon.Parse([]lexicon.Source{{Path: "com/example/thing.json", Data: []byte(c.text)}}, lexicon.Options{})
		if len(diags) != 1 || !strings.Contains(diags[0].String(), c.want) {
			t.Errorf("%v misses %q", diags, c.want)
		}
	}
}
