package lexrt

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// judged is what jsontext says of a text, and the items of its arrays by their positions.
func judged(text []byte) (valid bool, items map[int]int) {
	d := jsontext.NewDecoder(bytes.NewReader(text))
	items = map[int]int{}
	var open []int
	for {
		if kind, _ := d.StackIndex(d.StackDepth()); kind == '[' && d.PeekKind() != ']' && d.PeekKind() != 0 {
			items[open[len(open)-1]]++
		}
		t, err := d.ReadToken()
		switch {
		case errors.Is(err, io.EOF):
			return len(items) > 0 || len(bytes.TrimSpace(text)) > 0, items
		case err != nil:
			return false, nil
		}
		if kind := t.Kind(); kind == '[' || kind == '{' {
			open = append(open, int(d.InputOffset())-1)
		} else if kind == ']' || kind == '}' {
			open = open[:len(open)-1]
		}
		if d.StackDepth() == 0 {
			_, err := d.ReadToken()
			return errors.Is(err, io.EOF), items
		}
	}
}

// agree fails when the quick check accepts what jsontext does not, or counts otherwise.
func agree(t *testing.T, text []byte) (sure bool) {
	t.Helper()
	var s sound
	if !s.check(text) {
		return false
	}
	valid, items := judged(text)
	if !valid {
		t.Errorf("%q is not valid", text)
	}
	for at, c := range text {
		if c == '[' && s.items(at) != items[at] && len(s.arrays) < maxCounted {
			t.Errorf("%q: the array at %d has %d items, not %d", text, at, items[at], s.items(at))
		}
	}
	return true
}

const soundText = ` {"a":[1,-0.5e+3,[],[[true],{"b":null}]], "text é":"\n\u00e9é😀\\ ","":{},"abcd":false,"abcdefghi":0,
	"list":[{"id":1,"name":"x"},{"id":2,"name":"y"}]}` + "\r\n"

// TestSound: it is sure of ordinary texts, and whatever byte of one is changed, it accepts nothing
// that jsontext refuses, and is unsure of what is rare only.
func TestSound(t *testing.T) {
	t.Parallel()
	if !agree(t, []byte(soundText)) {
		t.Fatal("an ordinary text is not accepted")
	}
	if !agree(t, []byte(`{"a":[`+strings.Repeat(`{"x":1},`, 2*maxSoundMembers)+`{}],"b":2,"x":3}`)) {
		t.Error("names of objects that are closed count")
	}
	refused := 0
	for at := range len(soundText) {
		for c := range 256 {
			text := []byte(soundText)
			text[at] = byte(c)
			sure := agree(t, text)
			if valid, _ := judged(text); valid && !sure {
				refused++
				if text[at] != '\\' && text[at] != 'd' && text[at] != 'D' {
					t.Errorf("%q is valid", text)
				}
			}
		}
		agree(t, []byte(soundText[:at]))
		agree(t, []byte(soundText[at:]))
	}
	if refused > 60 {
		t.Errorf("it is unsure of %d valid texts", refused)
	}
}

// TestSoundRefuses has what is easy to get wrong: the first ones are invalid, the others rare.
func TestSoundRefuses(t *testing.T) {
	t.Parallel()
	many := "{"
	for i := range maxSoundMembers + 1 {
		many += `"` + strings.Repeat("m", i) + `":0,`
	}
	for text, valid := range map[string]bool{
		"": false, " ": false, "01": false, "-": false, "1.": false, ".5": false, "1e": false, "1e+": false, "+1": false, "--1": false, "1 2": false, "tru": false,
		"truee": false, "nul": false, `"`: false, `"\`: false, `"\u12`: false, `"\u12g4"`: false, `"\x"`: false, "\"\x1f\"": false, "\"\xff\"": false, "\"\xc3\"": false,
		"\"\xed\xa0\x80\"": false, `"\ud800"`: false, `"\udc00\ud800"`: false, "[": false, "[1": false, "[1,": false, "[1,]": false, "[,1]": false, "[1}": false, "{": false,
		`{"a"`: false, `{"a":`: false, `{"a":1`: false, `{"a":1,`: false, `{"a":1,}`: false, `{a:1}`: false, `{"a" 1}`: false, `{"a":1 "b":2}`: false, "]": false, "\x00": false, "\ufeff1": false,
		`{"a":1,"a":2}`: false, `{"":1,"b":2,"":3}`: false, `{"abcdefghij":1,"abcdefghij":2}`: false, `{"a":1,"\u0061":2}`: false, `[{"x":{"a":1},"x":2}]`: false,
		"1\f": false, "\v1": false, "1\u00a0": false,

		`"\ud83d\ude00"`: true, `{"\n":1}`: true, many[:len(many)-1] + "}": true,
		strings.Repeat("[", maxSoundDepth+1) + strings.Repeat("]", maxSoundDepth+1): true,
		// The ends of the names are alike.
		`{"abcdefgh1abcdefgh":1,"abcdefgh2abcdefgh":2}`: true,
	} {
		if agree(t, []byte(text)) {
			t.Errorf("%q is accepted", text)
		}
		if got, _ := judged([]byte(text)); got != valid {
			t.Errorf("%q: jsontext says %v", text, got)
		}
	}
}

// TestManyArrays: those that are not counted do no harm.
func TestManyArrays(t *testing.T) {
	t.Parallel()
	text := []byte("[" + strings.Repeat("[1],", 2*maxCounted) + "[1]]")
	var s sound
	if !s.check(text) || len(s.arrays) != maxCounted || s.items(0) != 2*maxCounted+1 || s.items(1) != 1 || s.items(len(text)-4) != 0 {
		t.Errorf("%d arrays are counted", len(s.arrays))
	}
	// A text that could not be read leaves nothing for the next one.
	if s.check([]byte("[1,2")) || s.check([]byte("[1]")) && s.items(0) != 1 {
		t.Error(s)
	}
}

func FuzzSound(f *testing.F) {
	f.Add([]byte(soundText))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Fuzz(func(t *testing.T, text []byte) { agree(t, text) })
}
