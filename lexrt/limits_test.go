package lexrt_test

import (
	"strings"
	"testing"

	"mls-server/lexrt"
)

// nest is a union whose one member may hold another: type nest#box.
type nest interface{ isNest() }

type box struct{ In nest }

func (*box) isNest() {}

func (*box) LexType() string { return "nest#box" }

func (v *box) Lex(f *lexrt.Fields) {
	lexrt.UnionMember(f, "in", &v.In, lexrt.Optional, &unionNest)
}

var unionNest lexrt.Union[nest]

func init() { //nolint:gochecknoinits // the union and its member refer to each other
	unionNest = lexrt.Union[nest]{Variants: []lexrt.Variant[nest]{{Type: "nest#box", New: func() nest { return new(box) }}}}
}

// The way to a $type is gone again on each level, so the depth of unions is bounded.
func TestNestedUnionsAreBounded(t *testing.T) {
	t.Parallel()
	for depth, ok := range map[int]bool{1: true, 64: true, 65: false, 5000: false} {
		src := strings.Repeat(`{"in":`, depth) + "null" + strings.Repeat(`,"$type":"nest#box"}`, depth)
		var v nest
		err := lexrt.UnmarshalValue([]byte(src), &v, "value", func(f *lexrt.Fields, v *nest) { lexrt.UnionValue(f, v, &unionNest) })
		is := issues(t, err)
		switch {
		case ok && len(is) != 0:
			t.Errorf("%d unions: %v", depth, err)
		case !ok && (len(is) != 1 || is[0].Pointer != strings.Repeat("/in", 64) || !strings.Contains(is[0].Problem, "64 unions")):
			t.Errorf("%d unions: %v", depth, is)
		}
	}
}

// Items beyond the limit are only passed over.
func TestItemsBeyondTheLimitAreNotDecoded(t *testing.T) {
	t.Parallel()
	decoded := 0
	var v []string
	err := lexrt.UnmarshalValue([]byte(`["a","b",1,{"c":[]},"d"]`), &v, "value", func(f *lexrt.Fields, v *[]string) {
		lexrt.ArrayValue(f, v, &lexrt.ArrayRule{MaxLen: 2}, func(f *lexrt.Fields, v *string) {
			decoded++
			lexrt.StringValue(f, v, nil)
		})
	})
	is := issues(t, err)
	if len(is) != 1 || is[0].Rule != "maxLength" || decoded != 2 || len(v) != 2 {
		t.Errorf("%d decoded, %d kept: %v", decoded, len(v), err)
	}
}

func TestMediaTypesIgnoreCase(t *testing.T) {
	t.Parallel()
	const blob = `{"$type":"blob","ref":{"$link":"bafkreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"},"mimeType":"%","size":1}`
	rule := &lexrt.BlobRule{Accept: []string{"image/*", "Text/Plain"}}
	for mime, ok := range map[string]bool{
		"image/png": true, "IMAGE/PNG": true, "Image/svg+xml; charset=utf-8": true, "text/plain": true, "TEXT/PLAIN": true,
		"text/html": false, "images/png": false, "video/image": false,
	} {
		var v lexrt.Blob
		err := lexrt.UnmarshalValue([]byte(strings.Replace(blob, "%", mime, 1)), &v, "value", func(f *lexrt.Fields, v *lexrt.Blob) {
			lexrt.BlobValue(f, v, rule)
		})
		if (err == nil) != ok {
			t.Errorf("%s: %v", mime, err)
		}
	}
}

type note struct {
	Text string
	Any  lexrt.Raw
}

func (v *note) Lex(f *lexrt.Fields) {
	lexrt.String(f, "text", &v.Text, lexrt.Optional, nil)
	lexrt.Unknown(f, "any", &v.Any, lexrt.Optional)
}

// U+0000 is refused in what a request says, since databases cannot hold it as text, and
// nowhere else.
func TestNULInRequests(t *testing.T) {
	t.Parallel()
	for src, pointer := range map[string]string{
		`{"text":"\u0000"}`: "/text", `{"text":"a\u0000b"}`: "/text", `{"text":"\\\u0000"}`: "/text", `{"text":"\\u0000"}`: "", `{"text":"\u00001"}`: "/text",
		`{"any":{"a":["x\u0000"]}}`: "/any", `{"any":{"a\u0000":1}}`: "/any", `{"any":{"a":"\\u0000"}}`: "", `{"any":{"a":"\\\\\u0000"}}`: "/any",
		`{"other":"\u0000"}`: "",
	} {
		is := issues(t, (&lexrt.Request{Body: []byte(src)}).Decode(new(note)))
		if input := issues(t, lexrt.UnmarshalInput([]byte(src), new(note))); len(input) != len(is) {
			t.Errorf("%s: a body has %v, an input %v", src, is, input)
		}
		if (pointer == "") != (len(is) == 0) || pointer != "" && (is[0].Pointer != pointer || !strings.Contains(is[0].Problem, "U+0000")) {
			t.Errorf("%s: %v", src, is)
		}
		if err := lexrt.Unmarshal([]byte(src), new(note), "value"); err != nil {
			t.Errorf("%s as an answer: %v", src, err)
		}
	}
}

// The members of an object may come in any order, and others between them, with any spelling.
func TestMembersInAnyOrder(t *testing.T) {
	t.Parallel()
	want := note{Text: "x", Any: lexrt.Raw(`{"a":1}`)}
	for _, src := range []string{
		`{"text":"x","any":{"a":1}}`, `{"any":{"a":1},"text":"x"}`, ` { "any" : {"a":1} , "text" : "x" } `,
		`{"":0,"z":[{"text":"y"}],"any":{"a":1},"y":"}","text":"x","more":null}`, `{"t\u0065xt":"x","\u0061ny":{"a":1},"te\u0000xt":1}`,
		`{"TEXT":"y","text":"x","text ":"y","any":{"a":1}}`,
	} {
		var v note
		if err := lexrt.Unmarshal([]byte(src), &v, "value"); err != nil || v.Text != want.Text || string(v.Any) != string(want.Any) {
			t.Errorf("%s: %+v, %v", src, v, err)
		}
	}
}
