package openapi

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
	"github.com/pb33f/libopenapi-validator/schema_validation"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

const lexicons = "../../../lexicons"

func model(t *testing.T, dir, policyFile string) (*ir.Model, *ir.Policy) {
	t.Helper()
	policy := &ir.Policy{}
	opt := lexicon.Options{}
	if policyFile != "" {
		data, err := os.ReadFile(dir + "/" + policyFile)
		if err != nil {
			t.Fatal(err)
		}
		if policy, err = ir.ParsePolicy(policyFile, data); err != nil {
			t.Fatal(err)
		}
		opt.Exclude = policyFile
	}
	set, diags, err := lexicon.Load(os.DirFS(dir), opt)
	if err != nil || diags.HasErrors() {
		t.Fatalf("%v %v", err, diags)
	}
	m, diags := ir.Build(set, ir.Options{Prefix: "blue.catbird.mls", Policy: policy})
	if diags.HasErrors() {
		t.Fatal(diags)
	}
	return m, policy
}

func ownDocument(t *testing.T) []byte {
	t.Helper()
	m, policy := model(t, lexicons, "policy.json")
	doc, err := Document(m, Options{Title: "blue.catbird.mls", Policy: policy})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// checkDocument validates a document with a library that shares no code with this one.
func checkDocument(t *testing.T, doc []byte) libopenapi.Document {
	t.Helper()
	parsed, err := libopenapi.NewDocument(doc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.BuildV3Model(); err != nil {
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
	return parsed
}

func TestDocumentIsValid(t *testing.T) {
	t.Parallel()
	checkDocument(t, ownDocument(t))
}
var _ = schema_validation.NewSchemaValidator
var _ = json.Valid
var _ = bytes.Equal
var _ = strings.Contains
