package ir

import (
	"slices"
	"strings"
	"testing"

	"mls-server/tools/lexgen/lexicon"
)

func TestPart(t *testing.T) {
	t.Parallel()
	set, diags := lexicon.Parse([]lexicon.Source{
		{Path: "com/example/defs.json", Data: []byte(`{"lexicon":1,"id":"com.example.defs","defs":{
			"a":{"type":"object","properties":{"b":{"type":"array","items":{"type":"ref","ref":"#b"}}}},"b":{"type":"object","properties":{}}}}`)},
		{Path: "com/example/more.json", Data: []byte(`{"lexicon":1,"id":"com.example.more","defs":{
			"c":{"type":"object","properties":{"d":{"type":"union","refs":["#c","com.example.other#d"]}}}}}`)},
		{Path: "com/example/other.json", Data: []byte(`{"lexicon":1,"id":"com.example.other","defs":{"d":{"type":"object","properties":{}}}}`)},
		{Path: "com/example/get.json", Data: []byte(`{"lexicon":1,"id":"com.example.get","defs":{"main":{"type":"query","errors":[{"name":"Bad"}],
			"output":{"encoding":"application/json","schema":{"type":"ref","ref":"com.example.defs#a"}}}}}`)},
		{Path: "com/example/put.json", Data: []byte(`{"lexicon":1,"id":"com.example.put","defs":{"main":{"type":"procedure"}}}`)},
	}, lexicon.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	m, diags := Build(set, Options{Prefix: "com.example"})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	for keep, want := range map[string]string{
		// whose marker its type has
		"defs get put more other": "", "defs get put": "", "defs": "", "more other": "", "other": "com.example.other refers to com.example.more",
		"get put": "com.example.get refers to com.example.defs", "more": "com.example.more refers to com.example.other",
		"defs get": "", "none": "no lexicon is left",
	} {
		kept := strings.Fields(keep)
		p, err := m.Part(func(id string) bool { return slices.Contains(kept, strings.TrimPrefix(id, "com.example.")) })
		switch {
		case want == "":
			if err != nil || len(p.Lexicons) != len(kept) || (len(p.Methods) > 0) != (len(p.ErrorNames) > 0) || p.OpenUnions != slices.Contains(kept, "more") {
				t.Errorf("%s: %v", keep, err)
			}
		case err == nil || !strings.Contains(err.Error(), want):
			t.Errorf("%s: %v, want %s", keep, err, want)
		}
	}
}
