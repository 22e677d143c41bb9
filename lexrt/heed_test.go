package lexrt_test

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"mls-server/lexrt"
)

// heeding has a member of its own, and an object in which names mean something else.
type heeding struct {
	Since int64
	Inner number
}

func (v *heeding) Lex(f *lexrt.Fields) {
	lexrt.Int(f, "since", &v.Since, lexrt.Optional, nil)
	lexrt.Struct(f, "inner", &v.Inner, lexrt.Optional)
}

func TestHeededMembers(t *testing.T) {
	t.Parallel()
	names := []string{"since", "delivery"}
	for body, pointer := range map[string]string{
		`{}`:                                "",
		`{"since":1,"other":2,"$type":"x"}`: "",
		`{"delivery":null}`:                 "",
		`{"inner":{"a":1,"delivery":"x"}}`:  "",
		`{"delivery":"x"}`:                  "/delivery",
		`{"since":1,"delivery":{"deep":[1]},"inner":{"a":2}}`: "/delivery",
		`{"inner":{"a":2},"d\u0065livery":1,"since":3}`:       "/delivery",
	} {
		req := &lexrt.Request{Body: []byte(body), Heeded: names}
		found := issues(t, req.Decode(new(heeding)))
		if pointer == "" {
			assert.Empty(t, found, body)
			continue
		}
		require.Len(t, found, 1, body)
		assert.Equal(t, pointer, found[0].Pointer, body)
	}
	require.NoError(t, (&lexrt.Request{Body: []byte(`{"delivery":"x"}`)}).Decode(new(heeding)), "nothing is to be heeded")
}

func TestHeededParameters(t *testing.T) {
	t.Parallel()
	names := []string{"n", "delivery", "l"}
	for query, refused := range map[string]bool{
		"other=1": false, "delivery=": false, "delivery=x": true, "delivery=&delivery=x": true,
	} {
		q, err := url.ParseQuery("n=1&i=2&b=true&none=x&l=b&" + query)
		require.NoError(t, err)
		req := &lexrt.Request{Query: q, Heeded: names}
		found := issues(t, req.DecodeParams(new(parameters)))
		if !refused {
			assert.Empty(t, found, query)
			continue
		}
		require.Len(t, found, 1, query)
		assert.Equal(t, "/delivery", found[0].Pointer)
	}
	assert.Equal(t, []string{"n", "delivery", "l"}, names, "requests share the list")
}

func TestPaddedBytes(t *testing.T) {
	t.Parallel()
	for text, padded := range map[string]string{"": `""`, "a": `"YQ=="`, "ab": `"YWI="`, "abc": `"YWJj"`} {
		v := &blobbed{Data: []byte(text), More: [][]byte{[]byte(text)}}
		want := `{"data":{"$bytes":` + padded + `},"more":[{"$bytes":` + padded + `}]}`
		assert.JSONEq(t, want, string(lexrt.Padded(v).AppendJSON(nil)))
		assert.NotContains(t, string(v.AppendJSON(nil)), "=")
	}
	assert.Equal(t, `{"a":1}`, string(lexrt.Padded(lexrt.Raw(`{"a":1}`)).AppendJSON(nil)), "what has no members is as it was")
}

type blobbed struct {
	Data []byte
	More [][]byte
}

func (v *blobbed) Lex(f *lexrt.Fields) {
	lexrt.Bytes(f, "data", &v.Data, lexrt.Required, nil)
	lexrt.Array(f, "more", &v.More, lexrt.Required, nil, anyBytes)
}

func (v *blobbed) AppendJSON(dst []byte) []byte { return lexrt.Append(dst, v) }
