package ir

import (
	"strings"

	"mls-server/lexrt"

	"mls-server/tools/lexgen/lexicon"
)

// missingConstraint says why no request of the method can break the rule at the
// pointer, "" when one can. A binding to such a rule would never take effect.
func missingConstraint(m *lexicon.Method, pointer, rule string) string {
	var found []lexicon.Schema
	required := false
	roots := []lexicon.Schema{}
	if m.Params != nil {
		roots = append(roots, m.Params)
	}
	if m.Input != nil && m.Input.Schema != nil {
		roots = append(roots, m.Input.Schema)
	}
	for _, root := range roots {
		if s, req := at(root, strings.Split(pointer[1:], "/")); s != nil {
			found = append(found, s)
			required = required || req
		}
	}
	if found == nil {
		return "there is nothing at that place"
	}
	switch {
	case rule == "required" && required, rule == "type":
		return ""
	case rule == "required":
		return "it is not required"
	}
	for _, s := range found {
		if hasConstraint(s, rule) {
			return ""
		}
	}
	return "the schema there has no such constraint"
}

// at follows the tokens of a pointer into a schema, with "-" for any item of an
// array. The second result tells whether the last member is required.
func at(s lexicon.Schema, tokens []string) (found lexicon.Schema, required bool) {
	for _, t := range tokens {
		t = strings.ReplaceAll(strings.ReplaceAll(t, "~1", "/"), "~0", "~")
		switch v := target(s).(type) {
		case *lexicon.Object:
			q := find(v, t)
			if q == nil {
				return nil, false
			}
			s, required = q.Schema, q.Required
		case *lexicon.Array:
			if t != "-" {
				return nil, false
			}
			s, required = v.Items, false
		default:
			return nil, false
		}
	}
	return target(s), required
}

func find(o *lexicon.Object, name string) *lexicon.Property {
	for _, q := range o.Properties {
		if q.Name == name {
			return q
		}
	}
	return nil
}

// target follows a reference.
func target(s lexicon.Schema) lexicon.Schema {
	if r, ok := s.(*lexicon.Ref); ok && r.Target != nil {
		s = r.Target.Schema
	}
	if r, ok := s.(*lexicon.Record); ok {
		return r.Object
	}
	return s
}

// hasConstraint reports whether a value of the schema can break the rule, as
// lexrt names it: a const of a string or integer is an enum of one.
func hasConstraint(s lexicon.Schema, rule string) bool {
	set := map[string]bool{}
	switch s := s.(type) {
	case *lexicon.Boolean:
		set["const"] = s.Const != nil
	case *lexicon.Integer:
		set["minimum"], set["maximum"] = s.Minimum != nil, s.Maximum != nil
		set["enum"] = len(s.Enum) > 0 || s.Const != nil
	case *lexicon.String:
		set["minLength"], set["maxLength"] = s.MinLength != nil, s.MaxLength != nil
		set["minGraphemes"], set["maxGraphemes"] = s.MinGraphemes != nil, s.MaxGraphemes != nil
		set["enum"] = len(s.Enum) > 0 || s.Const != nil
		set["format"] = s.Format != lexrt.FormatNone
	case *lexicon.Bytes:
		set["minLength"], set["maxLength"] = s.MinLength != nil, s.MaxLength != nil
	case *lexicon.Array:
		set["minLength"], set["maxLength"] = s.MinLength != nil, s.MaxLength != nil
	case *lexicon.Blob:
		set["maxSize"], set["accept"] = s.MaxSize != nil, len(s.Accept) > 0
	}
	return set[rule]
}
