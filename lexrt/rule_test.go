package lexrt_test

import (
	"strings"
	"testing"

	"mls-server/lexrt"
)

// The bounds of strings and integers hold at their edges.
func TestBoundsOfScalars(t *testing.T) {
	t.Parallel()
	short := &lexrt.StringRule{MinLen: 2, MaxLen: 4}
	for s, ok := range map[string]bool{"": false, "a": false, "ab": true, "abcd": true, "abcde": false} {
		if problem := short.Problem(s); (problem == "") != ok {
			t.Errorf("%q: %q", s, problem)
		}
	}
	few := &lexrt.IntRule{Min: -1, Max: 3}
	for n, ok := range map[int64]bool{-2: false, -1: true, 3: true, 4: false} {
		if problem := few.Problem(n); (problem == "") != ok {
			t.Errorf("%d: %q", n, problem)
		}
	}
}

// A blob has a type, a reference to what may be a blob, at least one byte and no more than allowed.
func TestBlobsHaveBounds(t *testing.T) {
	t.Parallel()
	const raw = "bafkreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"
	rule := &lexrt.BlobRule{Accept: []string{"image/*", "te*"}, MaxSize: 10}
	for text, ok := range map[string]bool{
		`{"$type":"blob","ref":{"$link":"%"},"mimeType":"image/png","size":1}`:  true,
		`{"$type":"blob","ref":{"$link":"%"},"mimeType":"image/png","size":10}`: true,
		`{"$type":"blob","ref":{"$link":"%"},"mimeType":"image/png","size":11}`: false,
		`{"$type":"blob","ref":{"$link":"%"},"mimeType":"image/png","size":0}`:  false,
		`{"$type":"blob","ref":{"$link":"%"},"mimeType":"image","size":1}`:      false,
		// only a whole type stands for all of its kind
		`{"$type":"blob","ref":{"$link":"%"},"mimeType":"text/plain","size":1}`:  false,
		`{"$type":"blob","ref":{"$link":"b%"},"mimeType":"image/png","size":1}`:  false,
		`{"$type":"blurb","ref":{"$link":"%"},"mimeType":"image/png","size":1}`:  false,
		`{"$type":"blob","ref":{"$bytes":"%"},"mimeType":"image/png","size":1}`:  false,
		`{"$type":"blob","ref":{"$link":"%"},"mimeType":"image/png","size":1.5}`: false,
	} {
		decode := func(text string) (v lexrt.Blob, err error) {
			err = lexrt.UnmarshalValue([]byte(text), &v, "value", func(f *lexrt.Fields, v *lexrt.Blob) { lexrt.BlobValue(f, v, rule) })
			return v, err
		}
		if _, err := decode(strings.Replace(text, "%", raw, 1)); (err == nil) != ok {
			t.Errorf("%s: %v", text, err)
		}
	}
}

type flag struct{ A bool }

func (v *flag) Lex(f *lexrt.Fields) {
	lexrt.Bool(f, "a", &v.A, lexrt.Required, &lexrt.BoolRule{Const: true})
}

// A boolean that must be true is true, from clients and from servers; and it must be there.
func TestConstantBooleans(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{`{"a":true}`: "", `{"a":false}`: "const", `{}`: "required", `{"a":null}`: "type"} {
		var v flag
		err := lexrt.Unmarshal([]byte(text), &v, "flag")
		if want == "" && err != nil || want != "" && (err == nil || issues(t, err)[0].Rule != want) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if err := lexrt.Validate(&flag{}); err == nil {
		t.Error("a server may say false")
	}
}

// What a server builds is checked like what it is sent.
func TestBlobsOfServers(t *testing.T) {
	t.Parallel()
	const raw = "bafkreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"
	for size, ok := range map[int64]bool{-1: false, 0: false, 1: true} {
		b := lexrt.Blob{Ref: raw, MIMEType: "image/png", Size: size}
		if err := lexrt.ValidateValue(&b, func(f *lexrt.Fields, v *lexrt.Blob) { lexrt.BlobValue(f, v, nil) }); (err == nil) != ok {
			t.Errorf("a blob of %d bytes: %v", size, err)
		}
	}
}

// Links are to records and to raw bytes.
func TestCIDCodecs(t *testing.T) {
	t.Parallel()
	const raw, record = "bafkrei", "bafyrei"
	const hash = "clp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq"
	for cid, ok := range map[string]bool{raw + hash: true, record + hash: true, "bafzbei" + hash: false, "bagcrei" + hash: false} {
		if _, err := lexrt.ParseCID(cid); (err == nil) != ok {
			t.Errorf("%s: %v", cid, err)
		}
	}
}

// What would end a field of a frame is dropped from it.
func TestFramesKeepTheirLines(t *testing.T) {
	t.Parallel()
	got := string(lexrt.AppendFrame(nil, "1\r\nevent: forged\x00", "a\nb", nil))
	if want := "id: 1event: forged\nevent: ab\n\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestOddDefaults has defaults that their own schema refuses: they are allowed, and nothing else
// is.
func TestOddDefaults(t *testing.T) {
	t.Parallel()
	text := lexrt.StringRule{Format: lexrt.FormatDID, MaxLen: 3, Also: []string{"none"}}
	number := lexrt.IntRule{Min: 1, Max: 10, Also: []int64{11}}
	if text.Problem("none") != "" || text.Problem("nono") == "" || number.Problem(11) != "" || number.Problem(12) == "" || number.Problem(10) != "" {
		t.Error(text.Problem("none"), text.Problem("nono"), number.Problem(11), number.Problem(12))
	}
}
