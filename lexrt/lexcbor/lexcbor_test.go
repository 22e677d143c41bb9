package lexcbor_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

// officialFile reads one of the official files of the data model, which the indigo module has.
func officialFile(t *testing.T, name string, cases any) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/bluesky-social/indigo").Output()
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "atproto/atdata/testdata", name))
	if err == nil {
		err = json.Unmarshal(data, cases)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestOfficialFixtures compares JSON, CBOR and CID of the official values in both directions.
func TestOfficialFixtures(t *testing.T) {
	t.Parallel()
	var cases []struct {
		JSON json.RawMessage `json:"json"`
		CBOR string          `json:"cbor_base64"`
		CID  string          `json:"cid"`
	}
	officialFile(t, "data-model-fixtures.json", &cases)
	if len(cases) < 3 {
		t.Fatalf("%d fixtures", len(cases))
	}
	for i, c := range cases {
		want, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(c.CBOR, "="))
		if err != nil {
			t.Fatal(err)
		}
		block, err := lexcbor.FromJSON(c.JSON)
		if err != nil || !bytes.Equal(block, want) {
			t.Errorf("fixture %d: %v\n%x\n%x", i, err, block, want)
		}
		if got := lexcbor.CID(want); string(got) != c.CID {
			t.Errorf("fixture %d: CID %s", i, got)
		}
		back, err := lexcbor.ToJSON(want)
		if err != nil {
			t.Errorf("fixture %d: %v", i, err)
			continue
		}
		var a, b any
		if json.Unmarshal(back, &a) != nil || json.Unmarshal(c.JSON, &b) != nil {
			t.Fatal("no JSON")
		}
		if x, y := must(json.Marshal(a)), must(json.Marshal(b)); !bytes.Equal(x, y) {
			t.Errorf("fixture %d:\n%s\n%s", i, x, y)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestOfficialValues encodes the official valid values, and refuses the invalid ones that are wrong
// as values and not only as records.
func TestOfficialValues(t *testing.T) {
	t.Parallel()
	var valid []struct {
		Note string          `json:"note"`
		JSON json.RawMessage `json:"json"`
	}
	officialFile(t, "data-model-valid.json", &valid)
	for _, c := range valid {
		block, err := lexcbor.FromJSON(c.JSON)
		if err != nil {
			t.Errorf("%s: %v", c.Note, err)
			continue
		}
		if _, err := lexcbor.ToJSON(block); err != nil {
			t.Errorf("%s: %v", c.Note, err)
		}
	}
	for _, src := range []string{
		`{"a":1.5}`, `{"a":1e300}`, `{"a":9223372036854775808}`, `{"a":{"$bytes":1}}`, `{"a":{"$bytes":"AA","b":1}}`, `{"a":{"$bytes":"%%"}}`,
		`{"a":{"$link":"bafy"}}`, `{"a":{"$link":5}}`, `{"a":{"$bytes":"AA","$link":"AA"}}`, `{"a":1,"a":2}`, `{"a":1} 2`, `{"a":`, "{\"a\":\"\xff\"}", ``,
		strings.Repeat("[", 200) + strings.Repeat("]", 200),
	} {
		if block, err := lexcbor.FromJSON([]byte(src)); err == nil {
			t.Errorf("%q is encoded: %x", src, block)
		}
	}
}

// TestOneForm refuses every other way to write a value, and what the data model does not have.
func TestOneForm(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a0":                             "{}",
		"a1616101":                       `{"a":1}`,
		"f6":                             "null",
		"82f5f4":                         "[true,false]",
		"3b7fffffffffffffff":             "-9223372036854775808",
		"a261620161616102":               "", // b before a, and a is no key here
		"a2616201616102":                 "", // out of order
		"a2616101616102":                 "", // a member twice
		"1801":                           "", // 1 in two bytes
		"1b0000000000000001":             "",
		"bf616101ff":                     "", // without a length
		"5f4101ff":                       "",
		"f97e00":                         "", // not a number
		"fb3ff8000000000000":             "", // 1.5
		"f7":                             "", // undefined
		"a1662462797465736141":           "", // {"$bytes":"A"}, which would be bytes in JSON
		"a10101":                         "", // a key that is no text
		"c101":                           "", // a time
		"d82a4101":                       "", // a link without its prefix
		"d82a01":                         "",
		"61ff":                           "", // no UTF-8
		"1bffffffffffffffff":             "", // beyond 63 bits
		"3bffffffffffffffff":             "",
		"c2420100":                       "", // a big number
		"0102":                           "", // something follows
		"":                               "",
		"a1":                             "",
		strings.Repeat("81", 200) + "01": "",
	} {
		block, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(text, err)
		}
		got, err := lexcbor.ToJSON(block)
		if (err == nil) != (want != "") || string(got) != want && err == nil {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
}

type note struct {
	Text string
	Data []byte
	Link *lexrt.CID
	// Extra are members that the schema does not know.
	Extra lexrt.Extra
}

func (n *note) Lex(f *lexrt.Fields) {
	f.Type("com.example.note")
	lexrt.String(f, "text", &n.Text, lexrt.Required, nil)
	lexrt.Bytes(f, "data", &n.Data, lexrt.Optional, nil)
	lexrt.CIDLinkPtr(f, "link", &n.Link, lexrt.Optional)
	f.Extra(&n.Extra)
}

func (n *note) AppendJSON(b []byte) []byte { return lexrt.Append(b, n) }

func (n *note) UnmarshalJSON(src []byte) error { return lexrt.UnmarshalRecord(src, n) }

// TestRecords takes a record through a block, with what its schema does not know, and keeps its
// CID.
func TestRecords(t *testing.T) {
	t.Parallel()
	block := must(lexcbor.FromJSON([]byte(`{"$type":"com.example.note","text":"hello","data":{"$bytes":"AQI"},"link":{"$link":"bafyreihffx5a2e7k5uwrmmgofbvzujc5cmw5h4espouwuxt3liqoflx3ee"},"later":{"deep":[1,{"$bytes":"AA"}]}}`)))
	var n note
	if err := lexcbor.Unmarshal(block, &n); err != nil || n.Text != "hello" || !bytes.Equal(n.Data, []byte{1, 2}) || n.Link == nil {
		t.Fatal(err, n)
	}
	again, err := lexcbor.Marshal(&n)
	if err != nil || lexcbor.CID(again) != lexcbor.CID(block) {
		t.Errorf("%v\n%x\n%x", err, again, block)
	}
	if err := lexcbor.Unmarshal(must(lexcbor.FromJSON([]byte(`{"$type":"com.example.note","text":1}`))), &n); err == nil || !strings.Contains(err.Error(), "/text") {
		t.Error(err)
	}
}

// FuzzBlocks: what is accepted is written back as it was.
func FuzzBlocks(f *testing.F) {
	for _, text := range []string{"a1616101", "f6", "82f5f4", "a10101", "d82a4101", "5f4101ff"} {
		f.Add(must(hex.DecodeString(text)))
	}
	f.Fuzz(func(t *testing.T, block []byte) {
		src, err := lexcbor.ToJSON(block)
		if err != nil {
			return
		}
		if again, err := lexcbor.FromJSON(src); err != nil || !bytes.Equal(again, block) {
			t.Errorf("%v: %s\n%x\n%x", err, src, block, again)
		}
	})
}
