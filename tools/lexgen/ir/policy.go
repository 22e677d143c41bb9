package ir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

// Policy is what a server decides about its methods and lexicons cannot say.
type Policy struct {
	// File names the policy in problems.
	File string `json:"-"`
	// Statuses gives error names an HTTP status; all others have 400.
	Statuses map[string]int `json:"statuses"`
	// Methods has the exceptions, by NSID.
	Methods map[string]MethodPolicy `json:"methods"`
	// Violations gives broken constraints a declared error: NSID, then "POINTER RULE", then the
	// name.
	Violations map[string]map[string]string `json:"violations"`
	// Names gives places (as problems spell them) another Go name.
	Names map[string]string `json:"names"`
	// About says in a sentence or two what the service is, for the first page of the reference.
	About string `json:"about"`
	// Subjects orders the methods for readers, Common lists the errors that lexicons do not
	// declare.
	Subjects []Subject     `json:"subjects"`
	Common   []CommonError `json:"common"`
}

// MethodPolicy is the policy of one method.
type MethodPolicy struct {
	// RateClass is "default" when it is left out.
	RateClass string `json:"rateClass"`
	// MaxBody is in bytes; 0 means that the schema decides.
	MaxBody    int64 `json:"maxBody"`
	Privileged bool  `json:"privileged"`
	// Open methods take no token: anybody may call them, and they are counted by address.
	Open bool `json:"open"`
	// Anonymous methods are open and refuse a request that comes with a token: its caller is
	// nobody's business. They declare TokenNotAllowed.
	Anonymous bool `json:"anonymous"`
	// ByteClass names the rate limit that the size of a call's body is counted against, in KiB; ""
	// where it is counted against none.
	ByteClass string `json:"byteClass"`
	// Changes says of a query that it has effects.
	Changes bool `json:"changes"`
	// Cases are calls of the method that draw from another rate class.
	Cases []CasePolicy `json:"cases"`
}

// CasePolicy is the policy of the calls whose input has a certain value.
type CasePolicy struct {
	// Member is a string member of the input, Value one of its values.
	Member string `json:"member"`
	Value  string `json:"value"`
	// RateClass is what such calls draw from.
	RateClass string `json:"rateClass"`
	// MaxBody is the largest body of such a call, in bytes.
	MaxBody int64 `json:"maxBody"`
}

// ParsePolicy reads a policy file strictly: a member that it does not know is an error.
func ParsePolicy(file string, data []byte) (*Policy, error) {
	return parsePolicy(file, data, true)
}

// ParseOtherPolicy reads the policy file of another version, which may have members that this
// version of lexgen does not know.
func ParseOtherPolicy(file string, data []byte) (*Policy, error) {
	return parsePolicy(file, data, false)
}

func parsePolicy(file string, data []byte, strict bool) (*Policy, error) {
	p := &Policy{File: file}
	dec := json.NewDecoder(bytes.NewReader(data))
	if strict {
		dec.DisallowUnknownFields()
	}
	if err := dec.Decode(p); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%s: the file goes on after the end of its JSON value", file)
	}
	return p, nil
}

// Status is the HTTP status of an error name.
func (p *Policy) Status(name string) int {
	if s := p.Statuses[name]; s != 0 {
		return s
	}
	return 400
}

// DefaultMaxBody bounds, in bytes, an input that its schema does not bound when there is no policy.
const DefaultMaxBody = 1 << 20

func (b *builder) applyPolicy(m *Method) {
	p := b.opt.Policy
	mp := p.Methods[m.NSID]
	m.RateClass, m.Privileged = mp.RateClass, mp.Privileged
	m.Changes, m.Open = mp.Changes, mp.Open || mp.Anonymous
	m.Anonymous, m.ByteClass = mp.Anonymous, mp.ByteClass
	b.tokenDiags(m)
	if mp.Changes && m.Schema.Kind() != lexicon.KindQuery {
		b.policyError("\"changes\" is said of queries, and %s is a %s", m.NSID, m.Schema.Kind())
	}
	if m.RateClass == "" {
		m.RateClass = "default"
	}
	for _, key := range slices.Sorted(maps.Keys(p.Violations[m.NSID])) {
		name := p.Violations[m.NSID][key]
		pointer, rule, ok := strings.Cut(key, " ")
		if !ok || !strings.HasPrefix(pointer, "/") {
			b.policyError("the violation %q of %s must be a JSON pointer, a space and a constraint", key, m.NSID)
			continue
		}
		declared := slices.IndexFunc(m.Errors, func(e *MethodError) bool { return e.Name == name })
		if declared < 0 {
			b.policyError("the violation %q of %s names the error %s, which the method does not declare", key, m.NSID, name)
			continue
		}
		if why := missingConstraint(m.Schema, pointer, rule); why != "" {
			b.policyError("the violation %q of %s can never happen: %s", key, m.NSID, why)
			continue
		}
		m.Violations = append(m.Violations, Violation{Pointer: pointer, Rule: rule, Error: m.Errors[declared]})
	}
	if m.Input == nil {
		if mp.MaxBody != 0 {
			b.policyError("the method %s has a maxBody but no input", m.NSID)
		}
		if len(mp.Cases) > 0 {
			b.policyError("the method %s has \"cases\" but no input", m.NSID)
		}
		return
	}
	if m.MaxBody = mp.MaxBody; m.MaxBody != 0 {
		b.cases(m, mp.Cases)
		return
	}
	bound, why := bodyBound(m.Input)
	switch {
	case why == "":
		m.MaxBody = bound
	case p.File == "":
		m.MaxBody = DefaultMaxBody
	default:
		b.policyError("the input of %s has no size bound (%s); give the method a \"maxBody\" in bytes", m.NSID, why)
	}
	b.cases(m, mp.Cases)
}

// cases resolves the calls that draw from another rate class.
func (b *builder) cases(m *Method, cases []CasePolicy) {
	for _, c := range cases {
		f, why := caseField(m, c)
		if why != "" {
			b.policyError("the case %s = %q of %s %s", c.Member, c.Value, m.NSID, why)
			continue
		}
		m.Cases = append(m.Cases, Case{Field: f, Value: c.Value, RateClass: c.RateClass, MaxBody: c.MaxBody})
	}
}

// caseField is the member that a case is about, or why there can be no such case.
func caseField(m *Method, c CasePolicy) (f *Field, why string) {
	if !m.Input.JSON() || m.Input.Type.Kind != StructKind {
		return nil, "needs an input that is an object"
	}
	fields := m.Input.Type.Struct.Fields
	i := slices.IndexFunc(fields, func(f *Field) bool { return f.Name == c.Member })
	switch {
	case i < 0 || fields[i].Type.Kind != String || fields[i].Type.Enum == nil:
		return nil, "is not about a string with knownValues or an enum"
	case !slices.ContainsFunc(fields[i].Type.Enum.Values, func(v EnumValue) bool { return v.Text == c.Value }):
		return nil, "is about a value that the lexicon does not list"
	case c.RateClass == "" || c.RateClass == m.RateClass:
		return nil, "must have a rateClass of its own"
	case c.MaxBody <= 0 || c.MaxBody > m.MaxBody:
		return nil, fmt.Sprintf("must have a maxBody, of at most the %d bytes of the method", m.MaxBody)
	}
	return fields[i], ""
}

// tokenNotAllowed is the error of anonymous methods for requests that come with a token.
const tokenNotAllowed = "TokenNotAllowed"

// tokenDiags reports what the policy says of a method's tokens and its body and cannot be.
func (b *builder) tokenDiags(m *Method) {
	if m.Open && m.Privileged {
		b.policyError("%s cannot be both \"open\" and \"privileged\": the one takes no token, the other a strict one", m.NSID)
	}
	declared := slices.ContainsFunc(m.Errors, func(e *MethodError) bool { return e.Name == tokenNotAllowed })
	if m.Anonymous && !declared {
		b.policyError("%s is \"anonymous\" and must declare the error %s", m.NSID, tokenNotAllowed)
	}
	if m.ByteClass != "" && m.Input == nil {
		b.policyError("the method %s has a \"byteClass\" but no input", m.NSID)
	}
}

func (b *builder) policyError(format string, args ...any) {
	b.diags = append(b.diags, lexicon.Diag{Severity: lexicon.Error, File: b.opt.Policy.File, Rule: "policy", Message: fmt.Sprintf(format, args...)})
}

// policyDiags reports what the policy says about things that do not exist.
func (b *builder) policyDiags() {
	p := b.opt.Policy
	known := map[string]bool{}
	var ids []string
	for _, m := range b.model.Methods {
		known[m.NSID] = true
		ids = append(ids, m.NSID)
	}
	check := func(id, where string) {
		if known[id] {
			return
		}
		hint := ""
		if near := lexicon.Nearest(id, ids); near != "" {
			hint = "; did you mean " + near + "?"
		}
		b.policyError("%q under %q is not a method%s", id, where, hint)
	}
	for _, id := range slices.Sorted(maps.Keys(p.Methods)) {
		check(id, "methods")
		if mb := p.Methods[id].MaxBody; mb < 0 {
			b.policyError("the maxBody of %s must not be negative", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.Violations)) {
		check(id, "violations")
	}
	b.referenceDiags(check)
	for _, name := range slices.Sorted(maps.Keys(p.Statuses)) {
		if s := p.Statuses[name]; s < 400 || s > 599 {
			b.policyError("the status of %s must be from 400 to 599", name)
		}
	}
}
