package lexcbor

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/fxamacker/cbor/v2"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
	"mls-server/lexrt/lexbase64"
)

// readJSON reads a value of the data model: nil, bool, int64, string, []byte, cbor.Tag for links,
// []any, map[string]any.
func readJSON(src []byte) (any, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(src))
	v, err := readValue(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the JSON goes on after its value")
	}
	return v, nil
}

func readValue(d *jsontext.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("the value is nested too deeply")
	}
	t, err := d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case 'n':
		return nil, nil //nolint:nilnil // it is null
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		return readNumber(t)
	case '[':
		return readArray(d, depth)
	default: // the decoder gives no end without its beginning
		return readObject(d, depth)
	}
}

func readArray(d *jsontext.Decoder, depth int) (any, error) {
	list := []any{}
	for d.PeekKind() != ']' {
		v, err := readValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.ReadToken()
	return list, err
}

func readObject(d *jsontext.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, err
		}
		key := name.String()
		if object[key], err = readValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, err
	}
	return special(object)
}

func readNumber(t jsontext.Token) (int64, error) {
	if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
		return n, nil
	}
	if f, err := t.Float(); err == nil {
		if n, ok := integer(f); ok {
			return n, nil
		}
	}
	return 0, errors.New("the data model has integers of 64 bits and no other numbers")
}

// special is the bytes or the link that an object stands for, or the object.
func special(object map[string]any) (any, error) {
	value, isBytes := object["$bytes"]
	link, isLink := object["$link"]
	switch {
	case isLink:
		value = link
	case !isBytes:
		return object, nil
	}
	text, ok := value.(string)
	switch {
	case len(object) != 1 || !ok:
		return nil, errors.New("$bytes and $link are the only member of their object, and a string")
	case isLink:
		return linkOf(text)
	}
	trimmed, err := lexbase64.Trim([]byte(text))
	if err != nil {
		return nil, err
	}
	return lexbase64.DecodeTrimmed(trimmed, false)
}

// appendJSON appends the JSON form of a value.
func appendJSON(dst []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int64:
		return strconv.AppendInt(dst, v, 10), nil
	case string:
		return lexrt.AppendString(dst, &v), nil
	case []byte:
		dst = append(dst, `{"$bytes":"`...)
		return append(lexbase64.Append(dst, v), `"}`...), nil
	case cbor.Tag:
		cid, err := cidOf(v)
		return cid.AppendJSON(dst), err
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			var err error
			if dst, err = appendJSON(dst, item); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case map[string]any:
		return appendObject(dst, v)
	}
	return nil, errors.New("the data model has no such value")
}

func appendObject(dst []byte, object map[string]any) ([]byte, error) {
	keys := slices.SortedFunc(maps.Keys(object), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	})
	dst = append(dst, '{')
	for i, key := range keys {
		if key == "$bytes" || key == "$link" {
			return nil, errors.New("$bytes and $link are no members of a map: in JSON they stand for something else")
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(lexrt.AppendString(dst, &key), ':')
		var err error
		if dst, err = appendJSON(dst, object[key]); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}
