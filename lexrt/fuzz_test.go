package lexrt_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/bluesky-social/indigo/atproto/syntax"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
)

// all has a member of each kind, with json/v2's tags for those that it can read too.
type all struct {
	Text  string                `json:"text,omitempty"`
	Level *string               `json:"level,omitempty"`
	Count *int64                `json:"count,omitempty"`
	On    *bool                 `json:"on,omitempty"`
	Names []string              `json:"names,omitempty"`
	Self  *all                  `json:"self,omitempty"`
	More  []all                 `json:"more,omitempty"`
	Bytes []byte                `json:"-"`
	Link  *lexrt.CID            `json:"-"`
	Blob  *lexrt.Blob           `json:"-"`
	Any   lexrt.Raw             `json:"-"`
	Nest  nest                  `json:"-"`
	Grid  [][]lexrt.DID         `json:"-"`
	Maybe lexrt.OptNull[string] `json:"-"`
}

var level = lexrt.StringRule{Known: []string{"low", "high"}}

func (v *all) Lex(f *lexrt.Fields) {
	lexrt.String(f, "text", &v.Text, lexrt.Optional, nil)
	lexrt.StringPtr(f, "level", &v.Level, lexrt.Optional, &level)
	lexrt.IntPtr(f, "count", &v.Count, lexrt.Optional, nil)
	lexrt.BoolPtr(f, "on", &v.On, lexrt.Optional, nil)
	lexrt.Strings(f, "names", &v.Names, lexrt.Optional, nil, nil)
	lexrt.StructPtr(f, "self", &v.Self, lexrt.Optional)
	lexrt.Structs(f, "more", &v.More, lexrt.Optional, nil)
	lexrt.Bytes(f, "bytes", &v.Bytes, lexrt.Optional, nil)
	lexrt.CIDLinkPtr(f, "link", &v.Link, lexrt.Optional)
	lexrt.BlobRefPtr(f, "blob", &v.Blob, lexrt.Optional, nil)
	lexrt.Unknown(f, "any", &v.Any, lexrt.Optional)
	lexrt.UnionMember(f, "nest", &v.Nest, lexrt.Optional, &unionNest)
	lexrt.Array(f, "grid", &v.Grid, lexrt.Optional, nil, func(f *lexrt.Fields, v *[]lexrt.DID) {
		lexrt.ArrayValue(f, v, nil, func(f *lexrt.Fields, v *lexrt.DID) { lexrt.StringValue(f, v, nil) })
	})
	lexrt.Maybe(f, "maybe", &v.Maybe, func(f *lexrt.Fields, v *string) { lexrt.StringValue(f, v, nil) })
}

// FuzzDecode decodes any text. What is accepted is strict JSON, reads as json/v2 reads
// it, satisfies Validate, and comes back the same from its own encoding; what is refused
// names a place.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"text":"a\"\\\u0041","level":"high","count":-1,"on":true,"names":["",null],"self":{"text":"x"},"more":[{},{"self":{}}]}`,
		`{"bytes":{"$bytes":"YWJj"},"link":{"$link":"bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"},"any":{"a":[1,{"b":null}]}}`,
		`{"nest":{"in":{"$type":"nest#box"},"$type":"nest#box"},"grid":[["did:plc:x"],[]],"maybe":null}`, ` { "z" : [ "}" , {"q":"]\\"} ] , "text" : "y" } `,
		`{"t\u0065xt":"x","text":"y"}`, `{"x":{"y":1,"y":2}}`, `[]`, `{"text":"` + string(bytes.Repeat([]byte("long "), 40)) + `\u0000"}`,
		`{"blob":{"$type":"blob","ref":{"$link":"bafkreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"},"mimeType":"a/b","size":1}}`, `{"count":1e2} x`, "\xff",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		kept := bytes.Clone(src)
		var v, again, other all
		err := lexrt.Unmarshal(src, &v, "value")
		if !bytes.Equal(src, kept) {
			t.Fatal("the text was changed")
		}
		if err != nil {
			var invalid *lexrt.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Issues) == 0 {
				t.Fatal("refused without an issue:", err)
			}
			return
		}
		if !jsontext.Value(src).IsValid() {
			t.Fatal("what is accepted is not strict JSON")
		}
		if err := lexrt.Validate(&v); err != nil {
			t.Fatal(err)
		}
		out := lexrt.Append(nil, &v)
		if err := lexrt.Unmarshal(out, &again, "value"); err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%s came back as %s: %v", src, out, err)
		}
		if !json.Valid(out) {
			t.Fatalf("%s is not JSON", out)
		}
		if err := jsonv2.Unmarshal(src, &other); err == nil {
			other.Bytes, other.Link, other.Blob, other.Any, other.Nest, other.Grid, other.Maybe = v.Bytes, v.Link, v.Blob, v.Any, v.Nest, v.Grid, v.Maybe
			shallow(&v)
			shallow(&other)
			if a, b := lexrt.Append(nil, &v), lexrt.Append(nil, &other); !bytes.Equal(a, b) {
				t.Fatalf("%s is read as %s, by json/v2 as %s", src, a, b)
			}
		}
	})
}

// shallow drops what json/v2 does not read, and null items, which it takes for zero values.
func shallow(v *all) {
	v.Bytes, v.Link, v.Blob, v.Any, v.Nest, v.Grid, v.Maybe = nil, nil, nil, nil, nil, nil, lexrt.OptNull[string]{}
	if v.Self != nil {
		shallow(v.Self)
	}
	for i := range v.More {
		shallow(&v.More[i])
	}
}

// FuzzFormats compares what is recognised without regular expressions with package syntax.
func FuzzFormats(f *testing.F) {
	for _, s := range []string{
		"2026-11-20T10:00:00Z", "2026-02-29T10:00:00.123456789Z", "0999-01-01T00:00:00Z", "2026-11-20T23:59:60Z", "2015-02-28T00:00:00,5Z", "2026-13-01T00:00:00Z",
		"did:plc:z72i7hdynmk6r22z27h6tvur", "did:web:example.com", "did:web:example.com:a%20b", "did:plc:a:", "did:web:x.", "3kznmn7xqxl22", "k3znmn7xqxl22", "self", "..", ".", "a-b_c",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_, datetime := syntax.ParseDatetime(s)
		_, did := syntax.ParseDID(s)
		_, tid := syntax.ParseTID(s)
		_, key := syntax.ParseRecordKey(s)
		for format, valid := range map[lexrt.Format]bool{
			lexrt.FormatDatetime: datetime == nil && !bytes.ContainsRune([]byte(s), ','), lexrt.FormatDID: did == nil, lexrt.FormatTID: tid == nil, lexrt.FormatRecordKey: key == nil,
		} {
			if format.Valid(s) != valid {
				t.Errorf("%q as %s: %v, package syntax says %v", s, format, !valid, valid)
			}
		}
	})
}
