package lexrt_test

import (
	"slices"
	"strings"
	"testing"

	"mls-server/lexrt"
)

// post is a record with an object in it that may also be a member of a union.
type post struct {
	When  lexrt.Datetime
	Image *lexrt.Blob
	Part  *part
	Any   partUnion
	Lang  *lexrt.Language
	Extra lexrt.Extra
}

type part struct {
	N     *int64
	Extra lexrt.Extra
}

type partUnion interface{ isPart() }

func (*part) isPart() {}

func (*part) LexType() string { return "com.example.post#part" }

var unionPart = lexrt.Union[partUnion]{Variants: []lexrt.Variant[partUnion]{{Type: "com.example.post#part", New: func() partUnion { return new(part) }}}}

func (v *part) Lex(f *lexrt.Fields) {
	lexrt.IntPtr(f, "n", &v.N, lexrt.Optional, nil)
	f.Extra(&v.Extra)
}

func (v *post) Lex(f *lexrt.Fields) {
	f.Type("com.example.post")
	lexrt.String(f, "when", &v.When, lexrt.Required, &lexrt.StringRule{Format: lexrt.FormatDatetime})
	lexrt.BlobRefPtr(f, "image", &v.Image, lexrt.Optional, nil)
	lexrt.StructPtr(f, "part", &v.Part, lexrt.Optional)
	lexrt.UnionMember(f, "any", &v.Any, lexrt.Optional, &unionPart)
	lexrt.StringPtr(f, "lang", &v.Lang, lexrt.Optional, &lexrt.StringRule{Format: lexrt.FormatLanguage})
	f.Extra(&v.Extra)
}

const at = `"when":"2026-11-20T10:00:00Z"`

// What a schema does not know survives in records and in the objects within them.
func TestRecordsKeepUnknownMembers(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]string{
		`{"$type":"com.example.post",` + at + `}`:                                       "",
		`{"new":{"a":[1.5,"é"]},"$type":"com.example.post",` + at + `,"b\u0061r":null}`: `{"$type":"com.example.post",` + at + `,"new":{"a":[1.5,"é"]},"b\u0061r":null}`,
		`{"$type":"com.example.post",` + at + `,"part":{"x":1,"n":2,"y":{}},"any":{"$type":"com.example.post#part","z":[]}}`: `{"$type":"com.example.post",` + at +
			`,"part":{"n":2,"x":1,"y":{}},"any":{"$type":"com.example.post#part","z":[]}}`,
		`{"$type":"com.example.post",` + at + `,"part":{"$type":"com.example.post#part","z":0}}`: "",
	} {
		if want == "" {
			want = src
		}
		var v post
		if err := lexrt.UnmarshalRecord([]byte(src), &v); err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if out := lexrt.Append(nil, &v); string(out) != want {
			t.Errorf("%s came back as %s, want %s", src, out, want)
		}
	}
	// In the body of a request they are dropped.
	var p part
	if err := lexrt.UnmarshalInput([]byte(`{"n":1,"x":2}`), &p); err != nil || string(lexrt.Append(nil, &p)) != `{"n":1}` {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestExtra(t *testing.T) {
	t.Parallel()
	var v post
	if err := lexrt.UnmarshalRecord([]byte(`{"$type":"com.example.post",`+at+`,"part":{"$type":"com.example.post#part","b":[1],"a":"x"}}`), &v); err != nil {
		t.Fatal(err)
	}
	var got []string
	for name, value := range v.Part.Extra.All() {
		got = append(got, name+"="+string(value))
	}
	if want := []string{`$type="com.example.post#part"`, "b=[1]", `a="x"`}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for range v.Extra.All() {
		t.Error("the post has members that nobody wrote")
	}
	// The object has its $type once when it is put into a union.
	v.Any, v.Part = v.Part, nil
	want := `{"$type":"com.example.post",` + at + `,"any":{"$type":"com.example.post#part","b":[1],"a":"x"}}`
	if out := lexrt.Append(nil, &v); string(out) != want {
		t.Errorf("got %s, want %s", out, want)
	}
}

// Old records hold what the exact rules refuse.
func TestLenientRecords(t *testing.T) {
	t.Parallel()
	const cid = "bafkreigyia5vqnnpapjc6p5k23ukzc47kadxhbeuzfvjq52bftz7k2d56a"
	record := func(members string) []byte { return []byte(`{"$type":"com.example.post",` + members + `}`) }
	for members, ok := range map[string]bool{
		at + `,"image":{"cid":"` + cid + `","mimeType":"image/jpeg"}`: true, `"when":"2023-02-06T13:15:26.655000"`: true, `"when":"2023-02-06T13:15:26-0000"`: true,
		at + `,"image":{"cid":"x","mimeType":"image/jpeg"}`: false, at + `,"image":{"cid":"` + cid + `"}`: false, at + `,"image":{"cid":"` + cid + `","mimeType":"image/jpeg","size":1}`: false,
		at + `,"lang":"EN"`: true, at + `,"lang":"jaja"`: true, at + `,"lang":"en_US"`: false,
		`"when":"yesterday"`: false, `"when":"2015-02-30T00:00:00Z"`: false,
	} {
		var v post
		src := record(members)
		if err := lexrt.UnmarshalRecord(src, &v); err == nil {
			t.Errorf("%s is accepted under the exact rules", src)
		}
		err := lexrt.UnmarshalLenient(src, &v)
		if (err == nil) != ok {
			t.Errorf("%s: %v", src, err)
		}
		if ok && string(lexrt.Append(nil, &v)) != string(src) {
			t.Errorf("%s came back as %s", src, lexrt.Append(nil, &v))
		}
		if ok && lexrt.Validate(&v) == nil {
			t.Errorf("%s is valid", src)
		}
	}
	var v post
	if err := lexrt.UnmarshalLenient(record(at+`,"image":null,"part":null`), &v); err != nil || v.Image != nil || strings.Contains(string(lexrt.Append(nil, &v)), "null") {
		t.Errorf("null for what may be absent: %v", err)
	}
}

func (v *post) AppendJSON(b []byte) []byte { return lexrt.Append(b, v) }

func (v *post) UnmarshalJSON(src []byte) error { return lexrt.UnmarshalRecord(src, v) }

func (v *post) Validate() error { return lexrt.Validate(v) }

// like is a record of another collection.
type like struct{ Subject string }

func (v *like) Lex(f *lexrt.Fields) {
	f.Type("com.example.like")
	lexrt.String(f, "subject", &v.Subject, lexrt.Required, nil)
}

func (v *like) AppendJSON(b []byte) []byte { return lexrt.Append(b, v) }

func (v *like) UnmarshalJSON(src []byte) error { return lexrt.UnmarshalRecord(src, v) }

func (v *like) Validate() error { return lexrt.Validate(v) }

// TestDecodeRecord finds a record's type by its $type, wherever that stands.
func TestDecodeRecord(t *testing.T) {
	t.Parallel()
	collections := lexrt.Union[lexrt.Record]{Variants: []lexrt.Variant[lexrt.Record]{
		{Type: "com.example.post", New: func() lexrt.Record { return new(post) }},
		{Type: "com.example.like", New: func() lexrt.Record { return new(like) }},
	}}
	for src, want := range map[string]string{
		`{"$type":"com.example.post",` + at + `,"x":{"a":1}}`: "",
		`{"subject":"a","$type":"com.example.like"}`:          `{"$type":"com.example.like","subject":"a"}`,
		`{` + at + `,"\u0024type":"com.example.post"}`:        `{"$type":"com.example.post",` + at + `}`,
	} {
		r, err := lexrt.DecodeRecord([]byte(src), &collections)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		if want == "" {
			want = src
		}
		if got := string(r.AppendJSON(nil)); got != want || r.Validate() != nil {
			t.Errorf("%s came back as %s", src, got)
		}
	}
	for src, want := range map[string]string{
		`{"$type":"com.example.like"}`:             "/subject is required",
		`{"$type":"com.example.like","subject":1}`: "/subject must be a string",
		`{"$type":"com.example.other"}`:            `/$type must be one of "com.example.post", "com.example.like"`,
		`{"subject":"a"}`:                          "/$type is required",
		`{"$type":1}`:                              "/$type",
		`{"$type":"com.example.like","$type":"com.example.like","subject":"a"}`: "duplicate",
		`[]`: "must be an object", `{`: "ends too early",
	} {
		if _, err := lexrt.DecodeRecord([]byte(src), &collections); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", src, err, want)
		}
	}
}

func TestRecordKeys(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rule, key string
		valid     bool
	}{
		{"tid", "3kznmn7xqxl22", true},
		{"tid", "self", false},
		{"nsid", "com.example.note", true},
		{"nsid", "note", false},
		{"any", "a~b", true},
		{"any", "..", false},
		{"any", "", false},
		{"literal:self", "self", true},
		{"literal:self", "other", false},
	} {
		if err := lexrt.CheckRecordKey(c.rule, c.key); (err == nil) != c.valid {
			t.Errorf("%s %q: %v", c.rule, c.key, err)
		}
	}
}
