package lexrt

import (
	"bytes"
	"iter"

	"github.com/go-json-experiment/json/jsontext"
)

// Extra holds the members of a record, or of an object in one, that its schema does not
// know. They come back as they were read, so that a program that changes a record does
// not delete what newer ones have written.
//
// An Extra belongs to the type it was decoded into: a type that knows one of its members
// would write that one twice.
type Extra struct {
	json []byte // the members as JSON text, each with a comma behind it
}

// All returns the members in their order, with their JSON.
func (e Extra) All() iter.Seq2[string, Raw] {
	return func(yield func(string, Raw) bool) {
		if len(e.json) == 0 {
			return
		}
		object := append(append([]byte{'{'}, e.json[:len(e.json)-1]...), '}')
		for name, value := range members(object) {
			if !yield(name, Raw(bytes.Clone(value))) {
				return
			}
		}
	}
}

// Extra is where the members go that Lex did not name. It stands last in Lex.
func (f *Fields) Extra(v *Extra) {
	switch f.mode {
	case decoding:
		f.object.keeps = f.object.record
	case keeping:
		end := valueEnd(f.text, f.at)
		v.json = append(v.json, '"')
		v.json = append(v.json, f.text[f.object.from:f.object.to]...)
		v.json = append(v.json, '"', ':')
		v.json = append(v.json, f.text[f.at:end]...)
		v.json = append(v.json, ',')
	case encoding:
		f.appendExtra(v.json)
	case missing, checking, readingQuery, writingQuery:
	}
}

func (f *Fields) appendExtra(extra []byte) {
	// An object that is not in a union may have a $type, which it must not have twice when
	// it is put into one.
	if !f.object.typed || !bytes.Contains(extra, []byte(`"$type":`)) {
		f.out = append(f.out, extra...)
		return
	}
	for name, value := range (Extra{extra}).All() {
		if name != "$type" {
			quoted, _ := jsontext.AppendQuote(nil, name) // it was read, so it is valid
			f.out = append(f.out, quoted...)
			f.out = append(f.out, ':')
			f.out = append(f.out, value...)
			f.out = append(f.out, ',')
		}
	}
}
