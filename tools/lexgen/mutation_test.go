package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	indigolex "github.com/bluesky-social/indigo/atproto/lexicon"

	"mls-server/tools/lexgen/lexicon"
)

// everything makes the slow tests try all of the corpus instead of a sample.
func everything() bool { return os.Getenv("LEXGEN_TEST_ALL") != "" }

// verdict parses one lexicon alone. References to other files cannot be resolved
// then, so unknown ones do not count. It returns the rules that refuse it and those that warn.
func verdict(doc map[string]any) (refused, warned []string) {
	data, err := json.Marshal(doc)
	if err != nil {
		panic(err)
	}
	id, _ := doc["id"].(string)
	_, diags := lexicon.Parse([]lexicon.Source{{Path: strings.ReplaceAll(id, ".", "/") + ".json", Data: data}}, lexicon.Options{})
	rules := [lexicon.Note + 1]map[string]bool{}
	for i := range rules {
		rules[i] = map[string]bool{}
	}
	for _, d := range diags {
		switch d.Rule {
		case "ref-unknown":
		case "not-a-lexicon":
			rules[lexicon.Error][d.Rule] = true
		default:
			rules[d.Severity][d.Rule] = true
		}
	}
	return slices.Sorted(maps.Keys(rules[lexicon.Error])), slices.Sorted(maps.Keys(rules[lexicon.Warning]))
}

// indigoVerdict is what the reference library says.
func indigoVerdict(doc map[string]any) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	data, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	var f indigolex.SchemaFile
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if err := f.FinishParse(); err != nil {
		return err
	}
	return f.CheckSchema()
}

func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for k, x := range v {
			out[k] = clone(x)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, x := range v {
			out[i] = clone(x)
		}
		return out
	}
	return v
}

func copyOf(m map[string]any) map[string]any { return member(map[string]any{"": clone(m)}, "") }

// member is the object that a member holds.
func member(m map[string]any, name string) map[string]any {
	sub, ok := m[name].(map[string]any)
	if !ok {
		panic(name + " is not an object")
	}
	return sub
}

// walk visits every object of a document with its path, in a fixed order.
func walk(v any, path string, visit func(m map[string]any, path string)) {
	switch v := v.(type) {
	case map[string]any:
		visit(v, path)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			walk(v[k], path+"/"+k, visit)
		}
	case []any:
		for i, x := range v {
			walk(x, path+"/"+strconv.Itoa(i), visit)
		}
	}
}

// at finds an object by the path that walk gave.
func at(v any, path string) map[string]any {
	for part := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		switch x := v.(type) {
		case map[string]any:
			if part != "" {
				v = x[part]
			}
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil {
				panic(path)
			}
			v = x[i]
		}
	}
	m, _ := v.(map[string]any)
	return m
}

func isType(m map[string]any, kinds ...string) bool {
	t, ok := m["type"].(string)
	return ok && slices.Contains(kinds, t)
}

// breakage breaks one rule of the language wherever it applies.
type breakage struct {
	name    string
	applies func(m map[string]any, path string) bool
	do      func(m map[string]any)
}

func set(key string, value any) func(map[string]any) {
	return func(m map[string]any) { m[key] = value }
}

func drop(key string) func(map[string]any) {
	return func(m map[string]any) { delete(m, key) }
}

func of(kinds ...string) func(map[string]any, string) bool {
	return func(m map[string]any, path string) bool {
		return isType(m, kinds...) && !strings.Contains(path, "/properties/type")
	}
}

func in(suffix string) func(map[string]any, string) bool {
	return func(_ map[string]any, path string) bool { return strings.HasSuffix(path, suffix) }
}

func root(_ map[string]any, path string) bool { return path == "" }

func breakages() []breakage {
	const name = "definitely-not-there"
	return []breakage{
		{"version 2", root, set("lexicon", 2)},
		{"version text", root, set("lexicon", "1")},
		{"no version", root, drop("lexicon")},
		{"no id", root, drop("id")},
		{"short id", root, set("id", "com.example")},
		{"id with underscore", root, set("id", "com.example.get_thing")},
		{"no defs", root, drop("defs")},
		{"empty defs", root, set("defs", map[string]any{})},
		{"defs list", root, set("defs", []any{})},
		{"def with #", root, func(m map[string]any) { member(m, "defs")["a#b"] = map[string]any{"type": "token"} }},
		{"def with dot", root, func(m map[string]any) { member(m, "defs")["a.b"] = map[string]any{"type": "token"} }},
		{"def without name", root, func(m map[string]any) { member(m, "defs")[""] = map[string]any{"type": "token"} }},
		{"second primary", root, func(m map[string]any) { member(m, "defs")["second"] = map[string]any{"type": "query"} }},
		{"def ref", root, func(m map[string]any) {
			member(m, "defs")["second"] = map[string]any{"type": "ref", "ref": "#main"}
		}},
		{"def union", root, func(m map[string]any) {
			member(m, "defs")["second"] = map[string]any{"type": "union", "refs": []any{"#main"}}
		}},
		{"def unknown", root, func(m map[string]any) { member(m, "defs")["second"] = map[string]any{"type": "unknown"} }},
		{"def params", root, func(m map[string]any) { member(m, "defs")["second"] = map[string]any{"type": "params"} }},
		{"misspelt type", of("string", "object", "array", "ref", "union", "record", "query", "procedure"), set("type", "strnig")},
		{"type number", of("string", "object", "array"), set("type", 1)},
		{"no type", of("string", "boolean", "integer", "record", "query"), drop("type")},
		{"float limit", of("integer"), set("minimum", 1.5)},
		{"limit text", of("string"), set("maxLength", "10")},
		{"negative length", of("string", "array", "bytes"), set("minLength", -1)},
		{"crossed lengths", of("string", "array", "bytes"), func(m map[string]any) { m["minLength"], m["maxLength"] = 10, 9 }},
		{"crossed graphemes", of("string"), func(m map[string]any) { m["minGraphemes"], m["maxGraphemes"] = 10, 9 }},
		{"crossed range", of("integer"), func(m map[string]any) { m["minimum"], m["maximum"] = 10, 9 }},
		{"default of another type", of("string"), set("default", 3)},
		{"integer default text", of("integer"), set("default", "3")},
		{"boolean default text", of("boolean"), set("default", "true")},
		{"default out of range", of("integer"), func(m map[string]any) { m["minimum"], m["maximum"], m["default"] = 1, 2, 3 }},
		{"default not in enum", of("string"), func(m map[string]any) {
			m["enum"], m["default"] = []any{"a"}, "b"
			maps.DeleteFunc(m, func(k string, _ any) bool { return k == "format" || strings.HasPrefix(k, "min") })
		}},
		{"const and default", of("integer"), func(m map[string]any) { m["const"], m["default"] = 1, 2 }},
		{"enum of numbers", of("string"), set("enum", []any{1})},
		{"enum text", of("string"), set("enum", "a")},
		{"empty enum", of("string"), set("enum", []any{})},
		{"unknown format", of("string"), set("format", "date-time")},
		{"format number", of("string"), set("format", 1)},
		{"required stranger", of("object", "params"), set("required", []any{name})},
		{"nullable stranger", of("object"), set("nullable", []any{name})},
		{"required text", of("object", "params"), set("required", "a")},
		{"properties list", of("object"), set("properties", []any{})},
		{"property without name", of("object", "params"), func(m map[string]any) { m["properties"] = map[string]any{"": map[string]any{"type": "string"}} }},
		{"property token", of("object"), func(m map[string]any) {
			m["properties"], m["required"], m["nullable"] = map[string]any{"a": map[string]any{"type": "token"}}, []any{}, []any{}
		}},
		{"property record", of("object"), func(m map[string]any) {
			m["properties"], m["required"], m["nullable"] = map[string]any{"a": map[string]any{"type": "record"}}, []any{}, []any{}
		}},
		{"parameter object", of("params"), func(m map[string]any) {
			m["properties"], m["required"] = map[string]any{"a": map[string]any{"type": "object"}}, []any{}
		}},
		{"parameter array of objects", of("params"), func(m map[string]any) {
			m["properties"], m["required"] = map[string]any{"a": map[string]any{"type": "array", "items": map[string]any{"type": "object"}}}, []any{}
		}},
		{"parameters object", in("/parameters"), set("type", "object")},
		{"array without items", of("array"), drop("items")},
		{"items text", of("array"), set("items", "string")},
		{"items token", of("array"), set("items", map[string]any{"type": "token"})},
		{"ref without ref", of("ref"), drop("ref")},
		{"ref empty", of("ref"), set("ref", "")},
		{"ref only #", of("ref"), set("ref", "#")},
		{"ref without #", of("ref"), set("ref", "thing")},
		{"ref number", of("ref"), set("ref", 1)},
		{"union without refs", of("union"), drop("refs")},
		{"union of numbers", of("union"), set("refs", []any{1})},
		{"closed empty union", of("union"), func(m map[string]any) { m["refs"], m["closed"] = []any{}, true }},
		{"closed text", of("union"), set("closed", "yes")},
		{"record without key", of("record"), drop("key")},
		{"record key self", of("record"), set("key", "self")},
		{"record key empty literal", of("record"), set("key", "literal:")},
		{"record without record", of("record"), drop("record")},
		{"record of string", of("record"), set("record", map[string]any{"type": "string"})},
		{"body without encoding", in("/main/input"), drop("encoding")},
		{"output without encoding", in("/main/output"), drop("encoding")},
		{"body string", in("/main/output"), set("schema", map[string]any{"type": "string"})},
		{"error without name", of("query", "procedure"), set("errors", []any{map[string]any{"description": "x"}})},
		{"errors as strings", of("query", "procedure"), set("errors", []any{"NotFound"})},
		{"message object", of("subscription"), set("message", map[string]any{"schema": map[string]any{"type": "object"}})},
		{"message without schema", of("subscription"), set("message", map[string]any{})},
		{"blob of size zero", of("blob"), set("maxSize", 0)},
		{"accept without slash", of("blob"), set("accept", []any{"png"})},
		{"accept inner star", of("blob"), set("accept", []any{"image/p*"})},
		{"permission wildcard collection", of("permission-set"), set("permissions", []any{map[string]any{"type": "permission", "resource": "repo", "collection": []any{"*"}}})},
		{"permission without aud", of("permission-set"), set("permissions", []any{map[string]any{"type": "permission", "resource": "rpc", "lxm": []any{"com.example.a"}}})},
		{"permission for all", of("permission-set"), set("permissions", []any{map[string]any{"type": "permission", "resource": "rpc", "lxm": []any{"*"}, "aud": "*"}})},
		{"permission account", of("permission-set"), set("permissions", []any{map[string]any{"type": "permission", "resource": "account", "attr": "email"}})},
		{"permission service", of("permission-set"), set("permissions", []any{map[string]any{"type": "permission", "resource": "rpc", "lxm": []any{"com.example.a"}, "aud": "did:web:example.com#x"}})},
	}
}

// opens are the breakages that only warn, with the rule: the language may get new words, and says
// nothing about the others.
var opens = map[string]string{
	"def with dot":         "def-name",
	"default out of range": "default",
	"default not in enum":  "default",
	"unknown format":       "format-unknown",
	"permission account":   "permission-resource",
}

// documents are the official lexicons as trees, and a permission set of our own.
func documents(t *testing.T) []map[string]any {
	t.Helper()
	var docs []map[string]any
	for _, s := range corpus(t) {
		var doc map[string]any
		if err := json.Unmarshal(s.Data, &doc); err != nil {
			t.Fatal(err)
		}
		docs = append(docs, doc)
	}
	return docs
}

// TestBrokenRules breaks each rule of the language in the official lexicons, one
// place at a time: all must be refused, but for those of opens, which are warned of.
func TestBrokenRules(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	rnd := rand.New(rand.NewPCG(3, 1))
	for _, b := range breakages() {
		type place struct {
			doc  int
			path string
		}
		var places []place
		for i, doc := range docs {
			walk(doc, "", func(m map[string]any, path string) {
				if b.applies(m, path) && !strings.Contains(path, "/knownValues") && isSchemaPath(path) {
					places = append(places, place{i, path})
				}
			})
		}
		if len(places) == 0 {
			t.Errorf("%s: the corpus has no place for it", b.name)
			continue
		}
		if !everything() && len(places) > 12 {
			rnd.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
			places = places[:12]
		}
		for _, p := range places {
			doc := copyOf(docs[p.doc])
			b.do(at(doc, p.path))
			refused, warned := verdict(doc)
			rule, open := opens[b.name]
			switch {
			case !open && len(refused) == 0:
				t.Errorf("%s is accepted in %v at %s (indigo: %v)", b.name, docs[p.doc]["id"], p.path, indigoVerdict(doc))
			case open && (len(refused) > 0 || !slices.Contains(warned, rule)):
				t.Errorf("%s in %v at %s: refused by %v, warned of by %v", b.name, docs[p.doc]["id"], p.path, refused, warned)
			}
		}
	}
}

// isSchemaPath leaves out objects whose member "type" is a property of that name.
func isSchemaPath(path string) bool { return !strings.HasSuffix(path, "/properties") }

// stricter are the rules that refuse what indigo's library lets pass, with the
// reason why the specification is on our side.
var stricter = map[string]string{
	"const":            "a constant that its own constraints refuse allows no value",
	"default-const":    "they are mutually exclusive",
	"defs-empty":       "a lexicon without definitions is invalid",
	"defs-missing":     "defs is required",
	"encoding":         "encoding is a MIME type",
	"encoding-missing": "encoding is required",
	"enum-empty":       "an empty enum allows no value",
	"enum-value":       "an enum value that its own constraints refuse can never occur",
	"error-name":       "name is required and has no white space",
	"limits":           "limits that cross allow no value",
	"message-schema":   "schema is required in a message",
	"query-input":      "only procedures have an input",
	"ref-syntax":       "a ref is an NSID, a fragment or both",
	"ref-target":       "tokens, refs, unions and primary types but records cannot be referred to",
	"refs-missing":     "refs is required",
	"type":             "a member of another JSON type is not what the language defines; null is not absence",
	"union-member":     "all variants are represented by objects",
}

// looser are the rules that warn of what indigo's library refuses, with the reason.
var looser = map[string]string{
	"def-name":             "the specification has no alphabet for the names of definitions",
	"format-unknown":       "formats may be added to the language",
	"permission-parameter": "services ignore a permission with an unknown parameter",
	"permission-resource":  "services ignore permissions for unknown resources",
	"type-unknown":         "primary types may be added to the language",
}

// TestAgainstIndigo damages official lexicons at random and compares the verdict
// with indigo's: what it refuses is refused here, and what only one of both refuses
// has a reason in the lists above.
func TestAgainstIndigo(t *testing.T) {
	t.Parallel()
	docs := documents(t)
	rounds := 4000
	if everything() {
		rounds = 200000
	}
	rnd := rand.New(rand.NewPCG(7, 7))
	ours := map[string]int{}
	example := map[string]string{}
	for range rounds {
		doc := copyOf(docs[rnd.IntN(len(docs))])
		what := damage(rnd, doc)
		theirs := indigoVerdict(doc)
		rules, warned := verdict(doc)
		switch {
		case theirs != nil && len(rules) == 0 && slices.ContainsFunc(warned, func(r string) bool { return looser[r] != "" }):
		case theirs != nil && len(rules) == 0:
			t.Errorf("%v: %s is accepted; indigo: %v", doc["id"], what, theirs)
		case theirs == nil:
			for _, r := range rules {
				ours[r]++
				example[r] = fmt.Sprintf("%v: %s", doc["id"], what)
			}
		}
	}
	for r, n := range ours {
		if stricter[r] == "" {
			t.Errorf("%s refuses %d damaged lexicons that indigo accepts, for example %s", r, n, example[r])
		}
	}
}

// damage changes one member of one object.
func damage(rnd *rand.Rand, doc map[string]any) string {
	var all []map[string]any
	var paths []string
	walk(doc, "", func(m map[string]any, path string) {
		if len(m) > 0 {
			all, paths = append(all, m), append(paths, path)
		}
	})
	i := rnd.IntN(len(all))
	m := all[i]
	keys := slices.Sorted(maps.Keys(m))
	k := keys[rnd.IntN(len(keys))]
	junk := []any{
		nil, true, 0.0, -1.0, 3.5, "", "x", "#main", "#nowhere", "com.example.other",
		[]any{},
		[]any{"x"},
		[]any{1.0},
		map[string]any{},
		map[string]any{"type": "string"},
		map[string]any{"type": "token"},
		map[string]any{"type": "object"},
		map[string]any{"type": "query"},
		"string", "object", "integer", "record", "query", "union", "unknown", "array", "blob", "bytes",
	}
	switch rnd.IntN(4) {
	case 0:
		delete(m, k)
		return "without " + paths[i] + "/" + k
	case 1:
		extra := []string{"required", "nullable", "minLength", "maximum", "enum", "const", "default", "format", "closed", "maxSize", "accept", "key", "input", "errors", "properties"}
		name := extra[rnd.IntN(len(extra))]
		m[name] = junk[rnd.IntN(len(junk))]
		return fmt.Sprintf("%s/%s = %v", paths[i], name, m[name])
	default:
		m[k] = junk[rnd.IntN(len(junk))]
		return fmt.Sprintf("%s/%s = %v", paths[i], k, m[k])
	}
}
