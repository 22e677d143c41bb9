// Package lexcbor turns records into DAG-CBOR and back: the form in which repositories hold them,
// and over which their CIDs are made.
//
//	block, err := lexcbor.Marshal(&api.Note{Text: "hello"})
//	err = lexcbor.Unmarshal(block, &note)
//	cid := lexcbor.CID(block)
//
// Values are those of the atproto data model: no floating-point numbers, integers of 64 bits, links
// to blocks of dag-cbor or raw data with a SHA-256 hash. A value has one encoding and no other:
// what is not written as Marshal writes it is refused, since its CID would be another one.
package lexcbor

import (
	"bytes"
	"crypto/sha256"
	"encoding/base32"
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/fxamacker/cbor/v2"

	"mls-server/lexrt"
)

// maxDepth is how deeply values may be nested.
const maxDepth = 128

// linkTag is the CBOR tag of a link to a block.
const linkTag = 42

var (
	encoder = must(cbor.EncOptions{
		Sort: cbor.SortLengthFirst, IndefLength: cbor.IndefLengthForbidden, NilContainers: cbor.NilContainerAsEmpty,
	}.EncMode())
	decoder = must(cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, IndefLength: cbor.IndefLengthForbidden, UTF8: cbor.UTF8RejectInvalid, MaxNestedLevels: maxDepth,
		MaxMapPairs: 1 << 20, MaxArrayElements: 1 << 20, DefaultMapType: reflect.TypeFor[map[string]any](), IntDec: cbor.IntDecConvertSignedOrFail,
		TagsMd: cbor.TagsAllowed, BignumTag: cbor.BignumTagForbidden,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Marshal encodes a value, most often a record. Errors: those of FromJSON.
func Marshal(v lexrt.Response) ([]byte, error) { return FromJSON(v.AppendJSON(nil)) }

// Unmarshal decodes a block into v, which validates it.
func Unmarshal(block []byte, v interface{ UnmarshalJSON(src []byte) error }) error {
	src, err := ToJSON(block)
	if err != nil {
		return err
	}
	return v.UnmarshalJSON(src)
}

// FromJSON encodes the JSON form of a value: {"$bytes": …} and {"$link": …} become bytes and links,
// and 5.0 becomes 5. Errors: src is not one JSON text, or repeats a member, or is no valid UTF-8;
// it has a number that is no integer of 64 bits, or is written with a fraction or an exponent and
// not below 2^53; a $bytes or $link that does not stand alone, or whose text is no base64 or no
// CID; or it is nested more than 128 levels deep. They begin with "lexcbor: ".
func FromJSON(src []byte) ([]byte, error) {
	v, err := readJSON(src)
	if err != nil {
		return nil, fmt.Errorf("lexcbor: %w", err)
	}
	block, err := encoder.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("lexcbor: %w", err)
	}
	return block, nil
}

// ToJSON returns the JSON form of a block. Members are in the block's order.
func ToJSON(block []byte) ([]byte, error) {
	var v any
	if err := decoder.Unmarshal(block, &v); err != nil {
		return nil, fmt.Errorf("lexcbor: %w", err)
	}
	// There is one way to write a value. The library accepts more, such as longer forms of numbers.
	again, err := encoder.Marshal(v)
	if err != nil || !bytes.Equal(again, block) {
		return nil, errNotCanonical
	}
	out, err := appendJSON(nil, v)
	if err != nil {
		return nil, fmt.Errorf("lexcbor: %w", err)
	}
	return out, nil
}

var errNotCanonical = errors.New("lexcbor: the block is not in the one form that DAG-CBOR has for its value")

var base32Lower = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// CID is the CID of a block of DAG-CBOR.
func CID(block []byte) lexrt.CID {
	hash := sha256.Sum256(block)
	return textOf(append([]byte{1, 0x71, 0x12, 32}, hash[:]...))
}

func textOf(cid []byte) lexrt.CID { return lexrt.CID("b" + base32Lower.EncodeToString(cid)) }

// linkOf is a link as CBOR has it: the CID's bytes behind a 0, for the multibase that says
// "binary".
func linkOf(text string) (cbor.Tag, error) {
	if _, err := lexrt.ParseCID(text); err != nil {
		return cbor.Tag{}, err
	}
	raw, err := base32Lower.DecodeString(text[1:])
	return cbor.Tag{Number: linkTag, Content: append([]byte{0}, raw...)}, err
}

// cidOf is the CID of a link.
func cidOf(link cbor.Tag) (lexrt.CID, error) {
	raw, ok := link.Content.([]byte)
	if link.Number != linkTag || !ok || len(raw) == 0 || raw[0] != 0 {
		return "", errors.New("the only tag is that of a link")
	}
	return lexrt.ParseCID(string(textOf(raw[1:])))
}

// integer is a number of JSON as an integer: 5.0 and 5e3, but not 5.5. It takes numbers without a
// fraction below 2^53 only: from there on a float64 does not tell an integer from its neighbours.
func integer(f float64) (int64, bool) {
	if f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
		return 0, false
	}
	return int64(f), true
}
