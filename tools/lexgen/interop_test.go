package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"mls-server/lexrt"
)

// syntaxFiles are the beginnings of the names of the official files for each format.
var syntaxFiles = map[string]lexrt.Format{
	"atidentifier": lexrt.FormatATIdentifier, "aturi": lexrt.FormatATURI, "cid": lexrt.FormatCID, "datetime": lexrt.FormatDatetime, "did": lexrt.FormatDID,
	"handle": lexrt.FormatHandle, "language": lexrt.FormatLanguage, "nsid": lexrt.FormatNSID, "recordkey": lexrt.FormatRecordKey, "tid": lexrt.FormatTID,
	"uri": lexrt.FormatURI,
}

// TestSyntaxConformance judges the official strings of all formats: those of indigo's module, or of
// the folder that LEXGEN_INTEROP names, interop-test-files of a checkout of atproto.
func TestSyntaxConformance(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(indigo(t), "atproto/syntax/testdata")
	if newest := os.Getenv("LEXGEN_INTEROP"); newest != "" {
		folder = filepath.Join(newest, "syntax")
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.txt"))
	if err != nil || len(files) < 20 {
		t.Fatal(files, err)
	}
	n := 0
	for _, name := range files {
		kind, rest, _ := strings.Cut(filepath.Base(name), "_")
		format, ok := syntaxFiles[kind]
		if !ok {
			t.Errorf("%s: which format is that?", name)
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			line = strings.TrimRight(line, "\r\n")
			if line == "" || line[0] == '#' {
				continue
			}
			n++
			if valid := strings.Contains(rest, "_valid"); format.Valid(line) != valid {
				t.Errorf("%s: %q: valid is %v", filepath.Base(name), line, !valid)
			}
		}
	}
	if n < 490 {
		t.Errorf("only %d strings", n)
	}
}

// TestLanguages has what the newest files add, and what is easy to get wrong.
func TestLanguages(t *testing.T) {
	t.Parallel()
	for s, valid := range map[string]bool{
		"X-fr-CH": true, "de-X-foo": true, "sl-rozaj-biske": true, "en-u-co-phonebk-t-en-US": true, "EN": false, "JA": false, "jaja": false, "Ja-JP": false, "ja-jp": true, "I-klingon": true, "zh-min-nan": true, "zh-cmn-Hans-CN": true,
		"i-klingon": true, "I-Default": true, "sgn-BE-FR": true, "x-a-b": true, "de-1996": true, "es-419": true, "art-lojban": true, "en-a-bbb-x-a-ccc": true,
		"de-DE-1901-1901": false, "en-rozaj-ROZAJ": false, "en-a-foo-a-bar": false, "en-u-co-phonebk-U-ca-buddhist": false, "de-419-DE": false, "i-nothing": false,
		"": false, "-": false, "en-": false, "en--US": false, "x": false, "en-x": false, "en-a": false, "en-a-x-b": false, "abcdefghi": false, "en-abcdefghi": false,
		"e": false, "12": false, "en_US": false, "en US": false, "é": false, "i-ami i-bnn": false, "ab-cde-fgh-ijk-lmn": false,
		"en" + strings.Repeat("-x1234567", 16): false,
	} {
		if got := lexrt.FormatLanguage.Valid(s); got != valid {
			t.Errorf("%q: %v", s, got)
		}
	}
}

// TestDataModelConformance judges the official values of the data model.
func TestDataModelConformance(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"valid", "invalid", "fixtures"} {
		data, err := os.ReadFile(filepath.Join(indigo(t), "atproto/atdata/testdata/data-model-"+kind+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var cases []struct {
			Note string          `json:"note"`
			JSON json.RawMessage `json:"json"`
		}
		if err := json.Unmarshal(data, &cases); err != nil || len(cases) < 3 {
			t.Fatal(len(cases), err)
		}
		for _, c := range cases {
			var v lexrt.Raw
			err := lexrt.UnmarshalValue(c.JSON, &v, "value", lexrt.UnknownValue)
			if valid := kind != "invalid"; (err == nil) != valid {
				t.Errorf("%s, %s: %v", kind, c.Note, err)
			}
		}
	}
}
