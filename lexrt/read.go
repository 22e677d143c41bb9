package lexrt

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// load checks src as a whole: syntax, UTF-8, duplicate members, depth, and nothing after the value.
// Everything below reads text that passed. jsontext is asked only when the quick check is not sure.
func (f *Fields) load(src []byte) bool {
	f.text = src
	if f.sound.check(src) {
		f.space()
		return true
	}
	f.sound.arrays, f.slow = f.sound.arrays[:0], true
	f.reader = *bytes.NewBuffer(src)
	f.json.Reset(&f.reader)
	if _, err := f.json.ReadValue(); err != nil {
		f.syntaxFault(err)
		return false
	}
	if _, err := f.json.ReadToken(); !errors.Is(err, io.EOF) {
		f.fault(fault{"json", "must not be followed by more data"})
		return false
	}
	f.space()
	return true
}

func (f *Fields) syntaxFault(err error) {
	is := Issue{Rule: "json", Problem: "is not valid JSON"}
	if syntactic, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		is.Pointer = string(syntactic.JSONPointer)
		is.Problem += " (byte " + strconv.FormatInt(syntactic.ByteOffset, 10) + ")"
	}
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		is.Problem = "is a duplicate member"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		is.Problem = "is not valid JSON: it ends too early"
	}
	f.issues = append(f.issues, is)
}

// space passes white space.
func (f *Fields) space() { f.at = passSpace(f.text, f.at) }

func passSpace(text []byte, at int) int {
	for at < len(text) && text[at] <= ' ' {
		at++
	}
	return at
}

// raw reads the next value as it is written.
func (f *Fields) raw() jsontext.Value {
	start := f.at
	f.at = valueEnd(f.text, start)
	return f.text[start:f.at]
}

// skip passes the next value.
func (f *Fields) skip() { f.at = valueEnd(f.text, f.at) }

// mismatch passes a value of the wrong JSON type and reports what was expected.
func (f *Fields) mismatch(expected string) {
	if f.text[f.at] == 'n' {
		expected += ", not null"
	}
	f.skip()
	f.typeFault("must be " + expected)
}

// open passes the bracket that an object or array begins with. When the next
// value is another it reports that, passes it and returns false.
func (f *Fields) open(bracket byte, expected string) bool {
	if f.text[f.at] != bracket {
		f.mismatch(expected)
		return false
	}
	f.at++
	return true
}

// advance comes to the next member of the object: behind its name, at its value.
func (f *Fields) advance() {
	o := &f.object
	for {
		f.space()
		switch f.text[f.at] {
		case ',':
			f.at++
			f.space()
		case '}':
			f.at++
			o.from, o.to, o.escaped = 0, 0, false
			return
		}
		start := f.at
		var end int
		end, o.escaped = stringEnd(f.text, start)
		f.at = passSpace(f.text, end) + 1 // the colon
		f.space()
		o.from, o.to = start+1, end-1
		if o.escaped {
			f.escaped = canonical(f.text[start:end])
		}
		if !o.typed || string(f.text[o.from:o.to]) != "$type" && (!o.escaped || string(f.escaped) != "$type") {
			return
		}
		f.skip()
	}
}

// canonical is the shortest JSON text of a name, without its quotes.
func canonical(quoted []byte) []byte {
	plain, err := jsontext.AppendUnquote(nil, quoted)
	if err != nil {
		return nil
	}
	b, err := jsontext.AppendQuote(nil, plain)
	if err != nil {
		return nil
	}
	return b[1 : len(b)-1]
}

// item comes to item n of the array that was opened, unless it has none.
func (f *Fields) item(n int) bool {
	f.space()
	switch f.text[f.at] {
	case ',':
		f.at++
		f.space()
	case ']':
		f.at++
		return false
	}
	f.place[len(f.place)-1] = segment{"", n}
	return true
}

// string reads the string that comes next. What it returns is valid until the
// next one is read.
func (f *Fields) string() []byte {
	start := f.at
	end, escaped := stringEnd(f.text, start)
	f.at = end
	if !escaped {
		return f.text[start+1 : end-1]
	}
	// The text is valid, so there is no error.
	f.scratch, _ = jsontext.AppendUnquote(f.scratch[:0], f.text[start:end])
	return f.scratch
}

// valueEnd is where the value ends that begins at the given position.
func valueEnd(text []byte, at int) int {
	switch text[at] {
	case '"':
		end, _ := stringEnd(text, at)
		return end
	case '{', '[':
		for depth := 0; ; {
			switch text[at] {
			case '"':
				at, _ = stringEnd(text, at)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return at + 1
				}
			}
			at++
		}
	}
	for at < len(text) && text[at] > ' ' && text[at] != ',' && text[at] != '}' && text[at] != ']' {
		at++
	}
	return at
}

// longString is from how many bytes on it pays to search with bytes.IndexByte.
const longString = 64

// stringEnd is where the string ends that begins at the given position, behind
// its quote, and whether it has escapes.
func stringEnd(text []byte, at int) (end int, escaped bool) {
	at++
	end = special(text, at, min(at+longString, len(text)))
	if text[end] != '"' && text[end] != '\\' {
		// A long text, most likely base64.
		at, end = end, end+bytes.IndexByte(text[end:], '"')
		if escape := bytes.IndexByte(text[at:end], '\\'); escape >= 0 {
			end = at + escape
		}
	}
	for text[end] == '\\' {
		escaped = true
		end = special(text, end+2, len(text))
	}
	return end + 1, escaped
}
