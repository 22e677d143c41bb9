package lexfake

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"reflect"

	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
)

// Codec is what every generated struct type has.
type Codec interface {
	UnmarshalJSON(src []byte) error
	AppendJSON(dst []byte) []byte
	Validate() error
}

// Query is what every generated type of parameters has.
type Query interface {
	DecodeQuery(q url.Values) error
	EncodeQuery() url.Values
	Validate() error
}

// RoundTrip decodes and encodes a minimal, a maximal and n random values of the
// named schema. It returns an error when a valid value is refused or comes back
// different, when Encodings has one, or when the schema has no value.
func (s Set) RoundTrip(name string, r *rand.Rand, n int, newValue func() Codec) error {
	for i := range n + 2 {
		size := Size(min(i, int(Random)))
		in := s.Value(name, r, size)
		if in == nil {
			return fmt.Errorf("%s has no finite value", name)
		}
		v, again := newValue(), newValue()
		if err := v.UnmarshalJSON(in); err != nil {
			return fmt.Errorf("%s: a valid value is refused: %w\n%s", name, err, excerpt(in))
		}
		if err := v.Validate(); err != nil {
			return fmt.Errorf("%s: Validate refuses a decoded value: %w\n%s", name, err, excerpt(in))
		}
		if err := Encodings(v); err != nil {
			return err
		}
		out := v.AppendJSON(nil)
		if err := again.UnmarshalJSON(out); err != nil {
			return fmt.Errorf("%s: an encoded value is refused: %w\n%s", name, err, excerpt(out))
		}
		if !reflect.DeepEqual(v, again) {
			return fmt.Errorf("%s: the value changed\n%s\n%s", name, excerpt(in), excerpt(out))
		}
		// Only a maximal value has all defaults written out.
		if size == Maximal && !sameJSON(in, out) {
			return fmt.Errorf("%s: the JSON changed\n%s\n%s", name, excerpt(in), excerpt(out))
		}
	}
	return nil
}

// Refusals decodes every Mutation of the named schema and returns their number,
// and an error when one is accepted or refused for another reason.
func (s Set) Refusals(name string, r *rand.Rand, newValue func() Codec) (n int, err error) {
	for m := range s.Mutations(name, r) {
		n++
		var invalid *lexrt.InvalidError
		if !errors.As(newValue().UnmarshalJSON(m.JSON), &invalid) {
			return n, fmt.Errorf("%s: a value that breaks %s at %s is accepted\n%s", name, m.Rule, m.Pointer, excerpt(m.JSON))
		}
		if is := invalid.Issues[0]; is.Pointer != m.Pointer || is.Rule != m.Rule {
			return n, fmt.Errorf("%s: got %s at %s, want %s at %s\n%s", name, is.Rule, is.Pointer, m.Rule, m.Pointer, excerpt(m.JSON))
		}
	}
	return n, nil
}

// Stable decodes any bytes. It returns an error when they are refused without
// an issue, when Validate refuses what the decoder accepts, or when an accepted
// value comes back different from its own encoding.
func Stable(src []byte, newValue func() Codec) error {
	v, again := newValue(), newValue()
	if err := v.UnmarshalJSON(src); err != nil {
		return refusal(err)
	}
	if err := v.Validate(); err != nil {
		return fmt.Errorf("a decoded value is refused by Validate: %w", err)
	}
	out := v.AppendJSON(nil)
	if err := again.UnmarshalJSON(out); err != nil {
		return fmt.Errorf("an encoded value is refused: %w\n%s", err, excerpt(out))
	}
	if !reflect.DeepEqual(v, again) {
		return fmt.Errorf("the value changed\n%s\n%s", excerpt(out), excerpt(again.AppendJSON(nil)))
	}
	return nil
}

// StableQuery is Stable for parameters.
func StableQuery(q url.Values, newValue func() Query) error {
	v, again := newValue(), newValue()
	if err := v.DecodeQuery(q); err != nil {
		return refusal(err)
	}
	if err := v.Validate(); err != nil {
		return fmt.Errorf("decoded parameters are refused by Validate: %w", err)
	}
	out := v.EncodeQuery()
	if err := again.DecodeQuery(out); err != nil {
		return fmt.Errorf("encoded parameters are refused: %w\n%s", err, out.Encode())
	}
	if !reflect.DeepEqual(v, again) {
		return fmt.Errorf("the parameters changed\n%s\n%s", out.Encode(), again.EncodeQuery().Encode())
	}
	return nil
}

// refusal checks what a decoder refuses a value with.
func refusal(err error) error {
	var invalid *lexrt.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Issues) == 0 {
		return fmt.Errorf("a value is refused without an issue: %w", err)
	}
	for _, is := range invalid.Issues {
		if is.Rule == "" || is.Problem == "" {
			return fmt.Errorf("an issue at %q has no rule or no problem", is.Pointer)
		}
	}
	return nil
}

func sameJSON(a, b []byte) bool {
	x, y := jsontext.Value(bytes.Clone(a)), jsontext.Value(bytes.Clone(b))
	exact := jsontext.CanonicalizeRawInts(false)
	return x.Canonicalize(exact) == nil && y.Canonicalize(exact) == nil && bytes.Equal(x, y)
}

func excerpt(b []byte) []byte { return b[:min(len(b), 2000)] }
