package lexrt

import (
	"net/url"
	"strconv"
)

// ParamDecoder reads the query string of a request for generated code and
// collects every violation. Unknown parameters are ignored.
type ParamDecoder struct {
	query  url.Values
	name   string
	index  int
	issues []Issue
}

// NewParamDecoder starts decoding a parsed query string.
func NewParamDecoder(query url.Values) ParamDecoder { return ParamDecoder{query: query} }

// Done returns an *InvalidError that lists all issues, or nil.
func (d *ParamDecoder) Done() error {
	if len(d.issues) == 0 {
		return nil
	}
	return &InvalidError{What: "params", Issues: d.issues}
}

func (d *ParamDecoder) fault(f fault) {
	if f.text == "" || len(d.issues) >= maxIssues {
		return
	}
	tokens := []segment{{d.name, -1}}
	if d.index >= 0 {
		tokens = append(tokens, segment{"", d.index})
	}
	d.issues = append(d.issues, Issue{Pointer: pointer(tokens), Rule: f.rule, Problem: f.text})
}

// One enters the scalar parameter name and reports whether it is given. A scalar
// given twice, and a required one not given, are violations.
func (d *ParamDecoder) One(name string, required bool) (string, bool) {
	d.name, d.index = name, -1
	values := d.query[name]
	switch {
	case len(values) == 1:
		return values[0], true
	case len(values) > 1:
		d.fault(fault{"type", "must be given once"})
	case required:
		d.fault(fault{"required", "is required"})
	}
	return "", false
}

// ParamArray reads an array, written as one key repeated for each item.
func ParamArray[S ~[]T, T any](d *ParamDecoder, name string, required bool, v *S, r *ArrayRule, item func(*ParamDecoder, string, *T)) {
	d.name, d.index = name, -1
	values := d.query[name]
	if len(values) == 0 {
		if required {
			d.fault(fault{"required", "is required"})
		}
		return
	}
	if f := r.check(len(values)); f.text != "" {
		d.fault(f)
		return
	}
	out := make(S, len(values))
	for i, s := range values {
		d.index = i
		item(d, s, &out[i])
	}
	d.index = -1
	*v = out
}

// ParamString reads a string that satisfies r.
func ParamString[T ~string](d *ParamDecoder, s string, v *T, r *StringRule) {
	var c Checker
	*v = T(s)
	CheckString(&c, v, r)
	for _, is := range c.issues {
		d.fault(fault{is.Rule, is.Problem})
	}
}

// ParamInt reads a base-10 integer that satisfies r.
func ParamInt[T ~int64](d *ParamDecoder, s string, v *T, r *IntRule) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != s {
		d.fault(fault{"type", "must be a base-10 integer of 64 bits"})
		return
	}
	*v = T(n)
	d.fault(r.check(n))
}

// ParamBool reads true or false.
func ParamBool[T ~bool](d *ParamDecoder, s string, v *T, r *BoolRule) {
	if s != "true" && s != "false" {
		d.fault(fault{"type", "must be true or false"})
		return
	}
	*v = s == "true"
	d.fault(r.check(s == "true"))
}

// AddString adds a string to a query string that is being built.
func AddString[T ~string](q url.Values, name string, v *T) { q.Add(name, string(*v)) }

// AddInt adds an integer to a query string that is being built.
func AddInt[T ~int64](q url.Values, name string, v *T) {
	q.Add(name, strconv.FormatInt(int64(*v), 10))
}

// AddBool adds a boolean to a query string that is being built.
func AddBool[T ~bool](q url.Values, name string, v *T) { q.Add(name, strconv.FormatBool(bool(*v))) }

// AddArray adds each item of an array under the same name.
func AddArray[S ~[]T, T any](q url.Values, name string, v *S, item func(url.Values, string, *T)) {
	for i := range *v {
		item(q, name, &(*v)[i])
	}
}
