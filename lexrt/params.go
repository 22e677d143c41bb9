package lexrt

import (
	"net/url"
	"slices"
)

// DecodeQuery reads and validates the parameters v from a parsed query string.
// Unknown parameters are ignored. The error is an *InvalidError with every issue.
func DecodeQuery[T any, P LexerOf[T]](q url.Values, v *T) error {
	*v = *new(T)
	return decodeQuery(q, nil, P(v))
}

// DecodeParams reads and validates the parameters v of the request.
func (r *Request) DecodeParams(v Lexer) error { return decodeQuery(r.Query, r.Heeded, v) }

func decodeQuery(q url.Values, heeded []string, v Lexer) error {
	f := newFields(readingQuery)
	f.query, f.request = q, true
	if len(q) > 0 {
		f.heeded = slices.Clone(heeded)
	}
	f.push()
	v.Lex(f)
	f.heedParams()
	return f.release("params")
}

// refuseParams is decodeQuery for a method that takes its input from the body.
func refuseParams(q url.Values, heeded []string) error {
	f := newFields(readingQuery)
	f.query, f.heeded = q, heeded
	f.push()
	f.heedParams()
	return f.release("params")
}

// heedParams refuses parameters that v did not name although they must not be ignored.
func (f *Fields) heedParams() {
	for _, name := range f.heeded {
		if slices.ContainsFunc(f.query[name], func(value string) bool { return value != "" }) {
			f.refuse(name)
		}
	}
}

// heed refuses the member that f is at, which the object does not know, where it must not be
// ignored.
func (f *Fields) heed() {
	if len(f.heeded) == 0 || len(f.place) != 1 || f.text[f.at] == 'n' {
		return
	}
	name := f.escaped
	if !f.object.escaped {
		name = f.text[f.object.from:f.object.to]
	}
	for _, heeded := range f.heeded {
		if heeded == string(name) {
			f.refuse(heeded)
		}
	}
}

// refuse reports a name that means nothing here. Where f stands is the name that was read last.
func (f *Fields) refuse(name string) {
	f.here(name)
	f.fault(fault{"unknown", "has no meaning in this method, and is not ignored"})
}

// EncodeQuery returns the parameters v as the values of a query string.
func EncodeQuery(v Lexer) url.Values {
	f := newFields(writingQuery)
	q := url.Values{}
	f.query = q
	f.push()
	v.Lex(f)
	_ = f.release("params") // writing has no issues
	return q
}

// enterParam comes to a scalar parameter. One that is given twice, and a required
// one that is not given, are violations. An optional one without a value counts as
// not given.
func (f *Fields) enterParam(name string, p Presence) bool {
	f.here(name)
	values := f.paramValues()
	switch {
	case len(values) == 1 && (values[0] != "" || p&Required != 0):
		f.param = values[0]
		return true
	case len(values) > 1:
		f.typeFault("must be given once")
	case p&Required != 0:
		f.fault(fault{"required", "is required"})
	}
	return false
}

// paramValues is what was given of the parameter that f is at.
func (f *Fields) paramValues() []string {
	name := f.paramName()
	if len(f.heeded) > 0 {
		f.heeded = slices.DeleteFunc(f.heeded, func(heeded string) bool { return heeded == name })
	}
	return f.query[name]
}

// paramName is the name of the parameter that f is at.
func (f *Fields) paramName() string {
	for _, p := range slices.Backward(f.place) {
		if p.index < 0 {
			return plainName(p.name)
		}
	}
	return ""
}

// readParams reads an array, written as one key repeated for each item.
func readParams[S ~[]T, T any](f *Fields, name string, v *S, p Presence, r *ArrayRule, item func(f *Fields, v *T)) {
	f.here(name)
	values := f.paramValues()
	if len(values) == 0 || len(values) == 1 && values[0] == "" && p&Required == 0 {
		if p&Required != 0 {
			f.fault(fault{"required", "is required"})
		}
		return
	}
	if broken := r.check(len(values)); broken.text != "" {
		f.fault(broken)
		return
	}
	out := make(S, len(values))
	f.push()
	for i, s := range values {
		f.place[len(f.place)-1] = segment{"", i}
		f.param = s
		item(f, &out[i])
	}
	f.pop()
	*v = out
}
