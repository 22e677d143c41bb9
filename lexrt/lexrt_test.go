package lexrt_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"testing"

	"mls-server/lexrt"
)

func issues(t *testing.T, err error) []lexrt.Issue {
	t.Helper()
	if err == nil {
		return nil
	}
	var invalid *lexrt.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("%v is not an InvalidError", err)
	}
	return invalid.Issues
}

func anyBytes(f *lexrt.Fields, v *[]byte) { lexrt.BytesValue(f, v, nil) }

// number has one member, as generated types have them.
type number struct{ A int64 }

func (v *number) Lex(f *lexrt.Fields) { lexrt.Int(f, "a", &v.A, lexrt.Required, nil) }

type parameters struct {
	N, I int64
	B    bool
	None string
	L    []string
}

func (v *parameters) Lex(f *lexrt.Fields) {
	lexrt.Int(f, "n", &v.N, lexrt.Required, nil)
	lexrt.Int(f, "i", &v.I, lexrt.Required, nil)
	lexrt.Bool(f, "b", &v.B, lexrt.Required, nil)
	lexrt.String(f, "none", &v.None, lexrt.Required, nil)
	lexrt.Strings(f, "l", &v.L, lexrt.Required, nil, &lexrt.StringRule{MaxLen: 1})
}

func TestBytesInput(t *testing.T) {
	t.Parallel()
	raw := make([]byte, 1000)
	for i := range raw {
		raw[i] = byte(i * 151)
	}
	for n := range raw {
		for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.RawStdEncoding, base64.URLEncoding, base64.RawURLEncoding} {
			text := enc.EncodeToString(raw[:n])
			for _, src := range []string{`{"$bytes":"` + text + `"}`, ` { "$bytes" : "` + strings.ReplaceAll(text, "/", `\/`) + `" }`, `"` + text + `"`} {
				var got []byte
				if err := lexrt.UnmarshalValue([]byte(src), &got, "x", anyBytes); err != nil || string(got) != string(raw[:n]) || got == nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
		}
	}
}

func TestBytesRefused(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		`"a"`, `"YQ="`, `"YQ==="`, `"Y Q"`, `"YW\nFh"`, `"YW FhYQ"`, `"Y-+v"`, `"YR"`, `"YWG"`, `"=="`, `"é"`, `{}`, `{"$bytes":1}`, `{"$bytes":"YQ","x":1}`,
		`{"$bytes":"YQ","$bytes":"YQ"}`, `null`, `[1]`, `"YQ" 1`, `{"$bytes":"` + strings.Repeat("A", 100) + `\u0020"}`,
		`"` + strings.Repeat("A", 400) + `\n` + strings.Repeat("A", 399) + `"`,
	} {
		var got []byte
		if err := lexrt.UnmarshalValue([]byte(src), &got, "x", anyBytes); err == nil {
			t.Errorf("accepted %s as %x", src, got)
		}
	}
}

func TestBytesLengthBeforeDecoding(t *testing.T) {
	t.Parallel()
	var got []byte
	err := lexrt.UnmarshalValue([]byte(`"`+strings.Repeat("!", 4000)+`"`), &got, "x", func(f *lexrt.Fields, v *[]byte) {
		lexrt.BytesValue(f, v, &lexrt.BytesRule{MaxLen: 10})
	})
	if is := issues(t, err); len(is) != 1 || is[0].Rule != "maxLength" {
		t.Error(is)
	}
}

// FuzzBytes compares the fast base64 path with the standard library.
func FuzzBytes(f *testing.F) {
	f.Add("YWJj")
	f.Add(strings.Repeat("Zm9v", 40) + "-_")
	f.Fuzz(func(t *testing.T, s string) {
		src, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		gotErr := lexrt.UnmarshalValue(src, &got, "x", anyBytes)
		enc := base64.RawStdEncoding
		if strings.ContainsAny(s, "-_") {
			enc = base64.RawURLEncoding
		}
		trimmed := s
		if cut, padded := strings.CutSuffix(s, "="); padded {
			trimmed = strings.TrimSuffix(cut, "=")
			if len(s)%4 != 0 {
				trimmed = "!"
			}
		}
		want, wantErr := enc.Strict().DecodeString(trimmed)
		if strings.ContainsAny(s, "\r\n") {
			wantErr = errors.New("line break")
		}
		if (gotErr == nil) != (wantErr == nil) || gotErr == nil && string(got) != string(want) {
			t.Fatalf("%q: got %x %v, want %x %v", s, got, gotErr, want, wantErr)
		}
	})
}

func TestStrictJSON(t *testing.T) {
	t.Parallel()
	for src, problem := range map[string]string{
		`{"a":1,"a":2}`:        "/a is a duplicate member",
		"{\"a\":\"\xff\"}":     "is not valid JSON",
		`{"a":1} {}`:           "must not be followed by more data",
		`{"a":1`:               "ends too early",
		``:                     "ends too early",
		`{"b":{"c":1,"c":2}}`:  "/b/c is a duplicate member",
		`{"a":1.0}`:            "/a must be an integer",
		`{"a":-0}`:             "/a must be an integer",
		`{"a":1e2}`:            "/a must be an integer",
		`[]`:                   "must be an object",
		`{"a":"secret-value"}`: "/a must be an integer",
	} {
		err := lexrt.Unmarshal([]byte(src), &number{}, "body")
		if err == nil || !strings.Contains(err.Error(), problem) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", src, err, problem)
		}
	}
}

func TestIssuesAreBounded(t *testing.T) {
	t.Parallel()
	src := "[" + strings.TrimSuffix(strings.Repeat("true,", 10000), ",") + "]"
	var out []string
	err := lexrt.UnmarshalValue([]byte(src), &out, "x", func(f *lexrt.Fields, v *[]string) {
		lexrt.ArrayValue(f, v, nil, func(f *lexrt.Fields, v *string) { lexrt.StringValue(f, v, nil) })
	})
	if n := len(issues(t, err)); n != 100 {
		t.Errorf("%d issues", n)
	}
}

func TestParams(t *testing.T) {
	t.Parallel()
	err := lexrt.DecodeQuery(url.Values{"n": {"1", "2"}, "i": {"01"}, "b": {"True"}, "l": {"a", "bb", "\xff"}}, &parameters{})
	want := []string{"/n type", "/i type", "/b type", "/none required", "/l/1 maxLength", "/l/2 type"}
	var got []string
	for _, is := range issues(t, err) {
		got = append(got, is.Pointer+" "+is.Rule)
	}
	if strings.Join(got, ",") != strings.Join(want, ",") {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestGraphemes(t *testing.T) {
	t.Parallel()
	r := lexrt.StringRule{MinGraphemes: 2, MaxGraphemes: 3}
	for s, ok := range map[string]bool{
		"": false, "a": false, "ab": true, "abc": true, "abcd": false, "🏳️‍🌈": false, "🏳️‍🌈🏳️‍🌈": true, "e\u0301e\u0301e\u0301": true, "🏳️‍🌈🏳️‍🌈🏳️‍🌈🏳️‍🌈": false,
	} {
		if got := r.Problem(s) == ""; got != ok {
			t.Errorf("%q: %v", s, got)
		}
	}
}

func TestCID(t *testing.T) {
	t.Parallel()
	const good = "bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"
	if _, err := lexrt.ParseCID(good); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"", "x", good[:58], good + "a", "B" + good[1:], "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG", strings.ToUpper(good)} {
		if _, err := lexrt.ParseCID(bad); err == nil {
			t.Errorf("accepted %q", bad)
		}
	}
}

func TestOptNull(t *testing.T) {
	t.Parallel()
	var o lexrt.OptNull[int]
	if !o.IsAbsent() || o.IsNull() || o.Get() != nil {
		t.Error("the zero value must be absent")
	}
	*o.Set() = 3
	if o.IsAbsent() || o.IsNull() || *o.Get() != 3 {
		t.Error("Set")
	}
	o.SetNull()
	if o.IsAbsent() || !o.IsNull() || o.Get() != nil {
		t.Error("SetNull")
	}
	if n, s := lexrt.Null[int](), lexrt.Some(4); !n.IsNull() || *s.Get() != 4 {
		t.Error("constructors")
	}
}

func TestErrorsCompareByName(t *testing.T) {
	t.Parallel()
	a, b := &lexrt.Error{Name: "A", Status: 400, Message: "x"}, &lexrt.Error{Name: "A"}
	if !errors.Is(a, b) || errors.Is(a, &lexrt.Error{Name: "B"}) || a.Error() != "A: x" || b.Error() != "A" {
		t.Error("names decide")
	}
}

func TestAppendString(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "abc", "a\"b\\c\n\x00\x7f\u2028é🎉", "a\xffb"} {
		var back string
		if err := json.Unmarshal(lexrt.AppendString(nil, &s), &back); err != nil || back != strings.ToValidUTF8(s, "\uFFFD") {
			t.Errorf("%q: %q %v", s, back, err)
		}
	}
}

func TestUnknown(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":[`, 4000) + strings.Repeat(`]}`, 4000)
	for src, ok := range map[string]bool{
		`{}`: true, `{"a":{"$bytes":"YQ"},"b":{"$link":"bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"}}`: true, deep: true,
		`{"$type":"x.y.z","a":[1,null,"x",true]}`: true, `{"$type":""}`: false, `{"$type":1}`: false, `{"a":{"$bytes":"Y"}}`: false,
		`{"a":{"$bytes":"YQ","x":1}}`: false, `{"a":{"$link":"x"}}`: false, `{"a":[{"b":1.5}]}`: false, `{"$bytes":"YQ"}`: false,
		`{"$link":"bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"}`: false, `{"$type":"blob"}`: false, `[]`: false, `null`: false, `"x"`: false,
	} {
		var got lexrt.Raw
		if err := lexrt.UnmarshalValue([]byte(src), &got, "x", lexrt.UnknownValue); (err == nil) != ok {
			t.Errorf("%.80s: %v", src, err)
		}
		raw := lexrt.Raw(src)
		if err := lexrt.ValidateValue(&raw, lexrt.UnknownValue); (err == nil) != ok {
			t.Errorf("%.80s: Validate: %v", src, err)
		}
	}
}
