package main

import (
	"maps"
	"slices"
	"strings"

	"mls-server/lexrt"

	"mls-server/tools/lexgen/explain"
	"mls-server/tools/lexgen/lexicon"
)

// object is a piece of a JSON Schema.
type object map[string]any

// lexiconSchema is the JSON Schema of lexicon files, for editors: which types there are, what
// members each has, and what they mean. What needs more than one place, lexgen alone can tell. It
// is as open as the language: unknown members are allowed.
func lexiconSchema() object {
	main := anyOf(slices.Concat(primary, definable))
	main["description"] = meaning("primary-not-main")
	defs := object{"def": anyOf(definable), "value": anyOf(values)}
	for _, k := range kindSchemas() {
		k.members["type"] = object{"const": k.name}
		k.members["description"] = text("What it is for, in plain words. It becomes documentation.")
		defs[k.name] = object{"type": "object", "description": k.doc, "properties": k.members, "required": append([]string{"type"}, k.required...)}
	}
	return object{
		"$schema": "http://json-schema.org/draft-07/schema#", "title": "Lexicon", "type": "object", "definitions": defs,
		"description": "A lexicon of the AT Protocol: one file, one NSID.",
		"required":    []string{"lexicon", "id", "defs"},
		"properties": object{
			"$type":       text("com.atproto.lexicon.schema, where the lexicon is a record."),
			"lexicon":     object{"const": 1, "description": meaning("lexicon-version")},
			"id":          object{"type": "string", "pattern": nsidPattern, "description": meaning("id-missing") + " " + meaning("id-path")},
			"revision":    object{"type": "integer", "description": "Counts versions. Nothing depends on it."},
			"description": text("What the lexicon is about."),
			"defs": object{
				"type": "object", "minProperties": 1, "description": meaning("def-name"),
				"properties":           object{"main": main},
				"additionalProperties": ref("def"),
			},
		},
	}
}

const nsidPattern = `^[a-zA-Z]([a-zA-Z0-9-]{0,62})?(\.[a-zA-Z0-9]([a-zA-Z0-9-]{0,62})?)+(\.[a-zA-Z][a-zA-Z0-9]{0,62})$`

// The types that a main definition alone may have, that any definition may have, and those of
// properties and items.
var (
	primary   = []string{"record", "query", "procedure", "subscription", "permission-set"}
	definable = []string{"object", "array", "string", "integer", "boolean", "bytes", "cid-link", "blob", "token", "union"}
	values    = []string{"string", "integer", "boolean", "bytes", "cid-link", "blob", "array", "object", "ref", "union", "unknown"}
)

type kindSchema struct {
	name, doc string
	members   object
	required  []string
}

func kindSchemas() []kindSchema {
	properties := object{"type": "object", "additionalProperties": ref("value"), "description": meaning("property-type")}
	names := func(code string) object {
		return object{"type": "array", "items": object{"type": "string"}, "uniqueItems": true, "description": meaning(code)}
	}
	body := object{
		"type": "object", "required": []string{"encoding"}, "description": meaning("body-type"), "properties": object{
			"description": text("What it holds."),
			"encoding":    object{"type": "string", "description": meaning("encoding")},
			"schema":      anyOf([]string{"object", "ref", "union"}),
		},
	}
	errors := object{"type": "array", "description": "What the method may answer instead.", "items": object{
		"type": "object", "required": []string{"name"}, "properties": object{
			"name": object{"type": "string", "pattern": `^[^\s]+$`, "description": meaning("error-name")}, "description": text("When it is answered."),
		},
	}}
	params := ref("params")
	message := object{"type": "object", "description": meaning("message-schema"), "properties": object{"description": text("What is sent."), "schema": anyOf([]string{"union", "ref"})}}
	length := func(low, high string) object { return object{low: size("limits"), high: size("limits")} }
	with := func(all ...object) object {
		sum := object{}
		for _, o := range all {
			maps.Copy(sum, o)
		}
		return sum
	}
	return []kindSchema{
		{"string", "UTF-8 text. Lengths count bytes, graphemes what a reader takes for one character.", with(length("minLength", "maxLength"), length("minGraphemes", "maxGraphemes"), object{
			"format":      object{"type": "string", "examples": formats(), "description": meaning("format-unknown")},
			"enum":        object{"type": "array", "items": object{"type": "string"}, "minItems": 1, "description": meaning("enum-empty")},
			"knownValues": object{"type": "array", "items": object{"type": "string"}, "description": "Values that have a meaning. Others are allowed."},
			"default":     object{"type": "string", "description": meaning("default")},
			"const":       object{"type": "string", "description": meaning("const")},
		}), nil},
		{"integer", "A whole number of 64 bits.", object{
			"minimum": object{"type": "integer", "description": meaning("limits")}, "maximum": object{"type": "integer", "description": meaning("limits")},
			"enum":    object{"type": "array", "items": object{"type": "integer"}, "minItems": 1, "description": meaning("enum-empty")},
			"default": object{"type": "integer", "description": meaning("default")}, "const": object{"type": "integer", "description": meaning("const")},
		}, nil},
		{"boolean", "true or false.", object{
			"default": object{"type": "boolean", "description": meaning("default-const")}, "const": object{"type": "boolean", "description": meaning("const")},
		}, nil},
		{"bytes", "Bytes, as {\"$bytes\": BASE64}. Lengths count bytes.", length("minLength", "maxLength"), nil},
		{"cid-link", "A link to data by its hash.", object{}, nil},
		{"blob", "A reference to a file that was uploaded.", object{
			"accept": names("accept"), "maxSize": size("negative"),
		}, nil},
		{"array", "A list. Lengths count items.", with(length("minLength", "maxLength"), object{"items": ref("value")}), []string{"items"}},
		{"object", "Named members.", object{"properties": properties, "required": names("required"), "nullable": names("nullable")}, nil},
		{"token", "A name that stands for itself, for knownValues.", object{}, nil},
		{"ref", "Another definition: #name in this file, an NSID, or NSID#name.", object{"ref": object{"type": "string", "description": meaning("ref-syntax")}}, []string{"ref"}},
		{"union", "One of several objects, told apart by $type.", object{
			"refs": names("refs-missing"), "closed": object{"type": "boolean", "default": false, "description": meaning("union-empty")},
		}, []string{"refs"}},
		{"unknown", "Any object.", object{}, nil},
		{"params", "The parameters of a method.", object{
			"properties": object{"type": "object", "description": meaning("param-type"), "additionalProperties": anyOf([]string{"boolean", "integer", "string", "unknown", "array"})},
			"required":   names("required"),
		}, nil},
		{"record", "Data in a repository.", object{
			"key": object{"type": "string", "examples": []string{"tid", "nsid", "any", "literal:self"}, "description": meaning("key")}, "record": ref("object"),
		}, []string{"key", "record"}},
		{"query", "A method that changes nothing: HTTP GET.", object{"parameters": params, "output": body, "errors": errors}, nil},
		{"procedure", "A method that may change something: HTTP POST.", object{"parameters": params, "input": body, "output": body, "errors": errors}, nil},
		{"subscription", "A stream of events over a WebSocket.", object{"parameters": params, "message": message, "errors": errors, "subprotocols": object{"type": "array", "items": object{"type": "string"}, "description": "What the WebSocket may speak, the default first."}}, nil},
		{"permission-set", "Permissions that a user grants together.", object{
			"title": text("Short name."), "detail": text("What is granted, in a sentence."), "title:lang": translations(), "detail:lang": translations(),
			"permissions": object{"type": "array", "description": meaning("permissions-missing"), "items": ref("permission")},
		}, []string{"permissions"}},
		{"permission", "One permission. Resources and parameters may be unknown.", object{
			"resource": object{"type": "string", "examples": []string{"rpc", "repo"}, "description": meaning("permission-resource")},
			"lxm":      names("permission-lxm"), "aud": object{"type": "string", "description": meaning("permission-aud")},
			"inheritAud": object{"type": "boolean"}, "collection": names("permission-collection"), "action": names("permission-action"),
		}, []string{"resource"}},
	}
}

func ref(name string) object { return object{"$ref": "#/definitions/" + name} }

func text(description string) object { return object{"type": "string", "description": description} }

func size(code string) object {
	return object{"type": "integer", "minimum": 0, "description": meaning(code)}
}

func translations() object {
	return object{"type": "object", "additionalProperties": object{"type": "string"}, "description": meaning("translation")}
}

// anyOf is a schema of one of the types. The if lets an editor speak of the type that is written
// and of no other; a type that is not known is allowed.
func anyOf(names []string) object {
	var cases []object
	for _, name := range names {
		cases = append(cases, object{"if": object{"properties": object{"type": object{"const": name}}, "required": []string{"type"}}, "then": ref(name)})
	}
	return object{
		"type": "object", "required": []string{"type"}, "allOf": cases,
		"properties": object{"type": object{"type": "string", "examples": names, "not": object{"enum": others(names)}}},
	}
}

// others are the types of the language that are not among the names.
func others(names []string) []string {
	has := map[string]bool{}
	for _, n := range names {
		has[n] = true
	}
	var out []string
	for _, k := range lexicon.Kinds() {
		if !has[k] && k != string(lexicon.KindSpace) {
			out = append(out, k)
		}
	}
	return out
}

func formats() []string {
	var all []string
	for f := lexrt.FormatNone + 1; f.String() != ""; f++ {
		all = append(all, f.String())
	}
	return all
}

// meaning is what lexgen explain says of a rule, without its examples.
func meaning(code string) string {
	for _, r := range explain.Rules() {
		if r.Code == code {
			return strings.TrimSpace(r.Meaning)
		}
	}
	panic("there is no rule " + code)
}
