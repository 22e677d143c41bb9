package ir

import (
	"math"
	"strings"
	"testing"

	"mls-server/tools/lexgen/lexicon"
)

// A client may write each byte of a string as an escape of six.
func TestBodiesHaveRoomForEscapes(t *testing.T) {
	t.Parallel()
	const doc = `{"lexicon":1,"id":"com.example.putThing","defs":{"main":{"type":"procedure",
		"input":{"encoding":"application/json","schema":{"type":"object","properties":{
			"text":{"type":"string","maxLength":200000},"kind":{"type":"string","enum":["ENUM"]}}}}}}}`
	body := `{"text":"` + strings.Repeat(`\u0061`, 200000) + `","kind":"` + strings.Repeat(`\u0062`, 100000) + `"}`
	set, diags := lexicon.Parse([]lexicon.Source{{Path: "com/example/putThing.json", Data: []byte(strings.Replace(doc, "ENUM", strings.Repeat("b", 100000), 1))}}, lexicon.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	m, diags := Build(set, Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	if got := m.Methods[0].MaxBody; got < int64(len(body)) {
		t.Errorf("the largest valid body has %d bytes, MaxBody is %d", len(body), got)
	}
}

// Bounds do not overflow: what cannot be held is unbounded.
func TestBoundsOfHugeBodies(t *testing.T) {
	t.Parallel()
	for a, want := range map[int64]int64{0: 0, 3: 12, 1 << 40: math.MaxInt32 * 16, math.MaxInt64: math.MaxInt32 * 16} {
		if got := mul(a, 4); got != want {
			t.Errorf("%d × 4 is %d, want %d", a, got, want)
		}
	}
}
