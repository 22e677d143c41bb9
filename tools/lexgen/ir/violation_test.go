package ir

import (
	"strings"
	"testing"

	"mls-server/tools/lexgen/lexicon"
)

const bound = `{"lexicon":1,"id":"com.example.putThing","defs":{"main":{"type":"procedure",
	"parameters":{"type":"params","properties":{"p":{"type":"string","format":"did"}}},
	"input":{"encoding":"application/json","schema":{"type":"object","required":["a"],"properties":{
		"a":{"type":"string","maxLength":3},"c":{"type":"integer","const":1,"minimum":0},"s/t~":{"type":"boolean","const":true},
		"l":{"type":"array","maxLength":2,"items":{"type":"ref","ref":"#x"}}}}},
	"errors":[{"name":"Bad"}]},
	"x":{"type":"object","properties":{"b":{"type":"bytes","minLength":1,"maxLength":4}}}}}`

func TestViolationsNeedAConstraint(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"/a maxLength": "", "/a required": "", "/a type": "", "/p format": "", "/c enum": "", "/c minimum": "", "/s~1t~0 const": "",
		"/l maxLength": "", "/l/-/b maxLength": "", "/l/-/b minLength": "",
		"/a minLength": "no such constraint", "/c const": "no such constraint", "/c maximum": "no such constraint", "/l/-/b required": "not required",
		"a maxLength": "must be a JSON pointer", "/a": "must be a JSON pointer",
		"/p maxLength": "no such constraint", "/z maxLength": "nothing at that place", "/l/0/b maxLength": "nothing at that place", "/a/b type": "nothing at that place",
	} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			set, diags := lexicon.Parse([]lexicon.Source{{Path: "com/example/putThing.json", Data: []byte(bound)}}, lexicon.Options{})
			if diags.HasErrors() {
				t.Fatal(diags)
			}
			m, diags := Build(set, Options{Policy: &Policy{File: "policy.json", Violations: map[string]map[string]string{"com.example.putThing": {key: "Bad"}}}})
			switch {
			case want == "" && (diags.HasErrors() || len(m.Methods[0].Violations) != 1):
				t.Errorf("%v", diags)
			case want != "" && (!diags.HasErrors() || !strings.Contains(diags[0].Message, want)):
				t.Errorf("%v, want %s", diags, want)
			}
		})
	}
}

func TestReferencePolicy(t *testing.T) {
	t.Parallel()
	set, diags := lexicon.Parse([]lexicon.Source{{Path: "com/example/putThing.json", Data: []byte(bound)}}, lexicon.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	id := "com.example.putThing"
	for want, p := range map[string]Policy{
		"is not a method":            {Subjects: []Subject{{Name: "x", Methods: []string{"com.example.pultThing"}}}},
		"has two subjects":           {Subjects: []Subject{{Name: "x", Methods: []string{id}}, {Name: "y", Methods: []string{id}}}},
		"a subject needs a name":     {Subjects: []Subject{{}}},
		"a common error needs":       {Common: []CommonError{{}}},
		"must be from 400 to 599":    {Common: []CommonError{{Name: "x", Status: 200}}},
		"must not be negative":       {Methods: map[string]MethodPolicy{id: {MaxBody: -1}}},
		"there are query, procedure": {Common: []CommonError{{Name: "x", Kinds: []string{"record"}}}},
	} {
		p.File = "policy.json"
		_, diags := Build(set, Options{Policy: &p})
		if !diags.HasErrors() || !strings.Contains(diags[0].Message, want) {
			t.Errorf("%q: %v", want, diags)
		}
	}
}
