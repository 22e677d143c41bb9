package lexrt

import (
	"net/url"
	"slices"
)

// DecodeQuery reads and validates the parameters v from a parsed query string.
// Unknown parameters are ignored. The error is an *InvalidError with every issue.
func DecodeQuery[T any, P LexerOf[T]](q url.Values, v *T) error {
	*v = *new(T)
	return decodeQuery(q, P(v))
}

func decodeQuery(q url.Values, v Lexer) error {
	f := newFields(readingQuery)
	f.query, f.request = q, true
	f.push()
	v.Lex(f)
	return f.release("params")
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
	values := f.query[f.paramName()]
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
	values := f.query[f.paramName()]
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
