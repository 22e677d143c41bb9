package openapi

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/schema_validation"
	v3 "github.com/pb33f/libopenapi/datamodel/high/v3"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

const lexicons = "../../../lexicons"

func build(t *testing.T, dir string, policy *ir.Policy) *ir.Model {
	t.Helper()
	set, diags, err := lexicon.Load(os.DirFS(dir), lexicon.Options{Exclude: []string{"policy.json"}})
	if err != nil || diags.HasErrors() {
		t.Fatalf("%v %v", err, diags)
	}
	m, diags := ir.Build(set, ir.Options{Prefix: "blue.catbird.mls", Policy: policy})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return m
}

func own(t *testing.T) (*ir.Model, *ir.Policy) {
	t.Helper()
	data, err := os.ReadFile(lexicons + "/policy.json")
	if err != nil {
		t.Fatal(err)
	}
	policy, err := ir.ParsePolicy("policy.json", data)
	if err != nil {
		t.Fatal(err)
	}
	return build(t, lexicons, policy), policy
}

func ownDocument(t *testing.T) []byte {
	t.Helper()
	m, policy := own(t)
	doc, err := Document(m, Options{Title: "blue.catbird.mls", Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// checkDocument validates a document with a library that shares no code with this one.
func checkDocument(t *testing.T, doc []byte) *v3.Document {
	t.Helper()
	parsed, err := libopenapi.NewDocument(doc)
	if err != nil {
		t.Fatal(err)
	}
	model, err := parsed.BuildV3Model()
	if err != nil {
		t.Fatalf("references do not resolve: %v", err)
	}
	v, errs := validator.NewValidator(parsed)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	if ok, problems := v.ValidateDocument(); !ok {
		for _, p := range problems {
			t.Errorf("%s: %s", p.Message, p.Reason)
			for _, s := range p.SchemaValidationErrors {
				t.Errorf("\t%s at %s", s.Reason, s.KeywordLocation)
			}
		}
	}
	return &model.Model
}

// TestOwnDocument validates the document of this server and every example in it.
func TestOwnDocument(t *testing.T) {
	t.Parallel()
	doc := checkDocument(t, ownDocument(t))
	m, _ := own(t)
	if n := doc.Paths.PathItems.Len(); n != len(m.Methods) || n < 27 {
		t.Errorf("%d paths for %d methods", n, len(m.Methods))
	}
	examples := 0
	check := func(where string, content *v3.MediaType) {
		if content == nil || content.Example == nil {
			return
		}
		examples++
		var value any
		if err := content.Example.Decode(&value); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if ok, problems := schema_validation.NewSchemaValidator().ValidateSchemaBytes(content.Schema.Schema(), text); !ok {
			for _, p := range problems {
				t.Errorf("%s: the example does not follow its schema: %s %s", where, p.Message, p.Reason)
				for _, s := range p.SchemaValidationErrors {
					t.Errorf("\t%s at %s", s.Reason, s.KeywordLocation)
				}
			}
		}
	}
	for path, item := range doc.Paths.PathItems.FromOldest() {
		op := item.Get
		if op == nil {
			op = item.Post
		}
		if op.RequestBody != nil {
			for media, content := range op.RequestBody.Content.FromOldest() {
				check(path+" request "+media, content)
			}
		}
		for status, resp := range op.Responses.Codes.FromOldest() {
			for media, content := range resp.Content.FromOldest() {
				check(path+" "+status+" "+media, content)
			}
		}
	}
	if examples < 60 {
		t.Errorf("only %d examples were found", examples)
	}
}

// TestInvalidIsRefused shows that the validator sees what is wrong.
func TestInvalidIsRefused(t *testing.T) {
	t.Parallel()
	broken := bytes.Replace(ownDocument(t), []byte(`"in": "query"`), []byte(`"in": "nowhere"`), 1)
	parsed, err := libopenapi.NewDocument(broken)
	if err != nil {
		return
	}
	v, errs := validator.NewValidator(parsed)
	if len(errs) > 0 {
		return
	}
	if ok, _ := v.ValidateDocument(); ok {
		t.Error("the validator accepted a parameter that is nowhere")
	}
}

func TestErrorsHaveStatuses(t *testing.T) {
	t.Parallel()
	m, policy := own(t)
	for _, method := range m.Methods {
		problems := Problems(method, policy)
		for _, e := range method.Errors {
			if !slices.ContainsFunc(problems, func(p Problem) bool { return p.Declared && p.Name == e.Name && p.Status == e.Status && p.Doc != "" }) {
				t.Errorf("%s: the error %s is missing or has no text", method.NSID, e.Name)
			}
		}
		idempotent := slices.ContainsFunc(problems, func(p Problem) bool { return p.Name == "IdempotencyKeyReused" })
		if idempotent != takes(method, []string{"idempotencyKey"}) {
			t.Errorf("%s: IdempotencyKeyReused is listed: %v", method.NSID, idempotent)
		}
		if slices.ContainsFunc(problems, func(p Problem) bool { return p.Status == 401 }) == method.Open {
			t.Errorf("%s: errors of tokens are listed for methods that take none, or missing", method.NSID)
		}
	}
}

// TestWholeLanguage validates documents of sets that use all of the language.
func TestWholeLanguage(t *testing.T) {
	t.Parallel()
	dirs, err := filepath.Glob("../testdata/cases/*/lexicons")
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(filepath.Dir(dir), "want_error.txt")); err == nil {
			continue
		}
		set, diags, err := lexicon.Load(os.DirFS(dir), lexicon.Options{NamedUnions: true, Exclude: []string{"policy.json"}})
		if err != nil || diags.HasErrors() {
			continue // an example of a mistake
		}
		m, diags := ir.Build(set, ir.Options{})
		if diags.HasErrors() || len(m.Methods) == 0 {
			continue
		}
		done++
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			t.Parallel()
			doc, err := Document(m, Options{Title: "case"})
			if err != nil {
				t.Fatal(err)
			}
			checkDocument(t, doc)
		})
	}
	if done < 3 {
		t.Errorf("only %d cases have methods", done)
	}
}

// TestHostileText shows that texts of lexicons stay texts.
func TestHostileText(t *testing.T) {
	t.Parallel()
	hostile := "</script><script>alert(1)</script> \"},{\" `code` [x](javascript:alert(1)) \u202e \u2028"
	text, err := json.Marshal(hostile)
	if err != nil {
		t.Fatal(err)
	}
	set, diags := lexicon.Parse([]lexicon.Source{{Path: "com/example/getThing.json", Data: []byte(
		`{"lexicon":1,"id":"com.example.getThing","defs":{"main":{"type":"query","description":` + string(text) + `,"parameters":{"type":"params","properties":{"a":{"type":"string","description":` + string(text) + `,"knownValues":[` + string(text) + `]}}},"errors":[{"name":"Bad","description":` + string(text) + `}]}}}`)}}, lexicon.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	m, diags := ir.Build(set, ir.Options{})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	doc, err := Document(m, Options{Title: hostile})
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(doc) {
		t.Fatal("the document is not JSON")
	}
	var parsed struct {
		Paths map[string]map[string]struct {
			Description string `json:"description"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(doc, &parsed); err != nil {
		t.Fatal(err)
	}
	got := parsed.Paths["/xrpc/com.example.getThing"]["get"].Description
	for _, bad := range []string{"<script", "[x]", "\u202e", "\u2028"} {
		if got == "" || strings.Contains(got, bad) {
			t.Errorf("the description has %q: %s", bad, got)
		}
	}
}

func TestDeterministic(t *testing.T) {
	t.Parallel()
	first := ownDocument(t)
	for range 5 {
		if !bytes.Equal(first, ownDocument(t)) {
			t.Fatal("two runs differ")
		}
	}
	have, err := os.ReadFile("../../../docs/api/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, first) {
		t.Error("docs/api/openapi.json is out of date; run make gen")
	}
}
