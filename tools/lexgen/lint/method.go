package lint

import (
	"strings"

	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/reach"
)

func (l *linter) method(s *lexicon.Method) {
	l.verbs(s)
	if s.Params != nil {
		l.use = reach.Request
		l.object(s.Params)
	}
	l.body(s.Input, reach.Request)
	l.body(s.Output, reach.Response)
	if s.Kind() == lexicon.KindSubscription {
		l.messages(s)
	} else if s.Output == nil {
		l.report(s.Node(), "output-missing", "the "+string(s.Kind())+" has no output", `add "output": {"encoding": "application/json", "schema": {"type": "object", "properties": {}}}`)
	}
	l.paging(s)
	l.requestSize(s)
	for _, e := range s.Errors {
		at := e.Node()
		l.name(at.Get("name"), "error", e.Name, true)
		l.docText(at, e.Description)
	}
}

func (l *linter) body(b *lexicon.Body, use reach.Use) {
	if b == nil {
		return
	}
	l.docText(b.Node(), b.Description)
	if b.Schema == nil {
		return
	}
	l.use = use
	if u, ok := b.Schema.(*lexicon.Union); ok {
		l.report(u.Node(), "output-object", "the body is a union and can never get fields beside it", "make it an object with the union as a field")
	}
	l.schema(b.Schema)
}

func (l *linter) messages(s *lexicon.Method) {
	u := s.Messages()
	if u == nil || len(u.Refs) == 0 {
		l.report(s.Node(), "subscription-messages", "the subscription defines no messages", `add "message": {"schema": {"type": "union", "refs": ["#…"]}}`)
		return
	}
	l.use = reach.Response
	l.docText(u.Node(), u.Description)
	for _, r := range u.Refs {
		if r.Target != nil && r.Target.File != l.f {
			l.report(r.Node(), "subscription-messages", "the message "+r.Target.Ref()+" is defined in another file", "define it here: a message is named by its fragment alone")
		}
	}
	l.union(u)
}

// find returns the named property or nil.
func find(o *lexicon.Object, name string) *lexicon.Property {
	if o == nil {
		return nil
	}
	for _, q := range o.Properties {
		if q.Name == name {
			return q
		}
	}
	return nil
}

func (l *linter) paging(s *lexicon.Method) {
	if s.Kind() != lexicon.KindQuery {
		return
	}
	if q := find(s.Params, "limit"); q != nil {
		i, ok := q.Schema.(*lexicon.Integer)
		if !ok || q.Required || i.Minimum == nil || i.Maximum == nil || i.Default == nil {
			l.report(q.Schema.Node(), "page-limit", "the parameter limit is not an optional integer with minimum, maximum and default", `for example {"type": "integer", "minimum": 1, "maximum": 100, "default": 50}`)
		}
	}
	in := find(s.Params, "cursor")
	l.cursor("parameter", in)
	out, object := outputObject(s)
	if !object {
		return
	}
	given := find(out, "cursor")
	l.cursor("output field", given)
	switch {
	case in != nil && given == nil:
		l.report(in.Schema.Node(), "page-cursor", "the query takes a cursor but never returns one", "add an optional string cursor to the output")
	case in == nil && given != nil:
		l.report(given.Schema.Node(), "page-cursor", "the query returns a cursor but takes none", "add an optional string parameter cursor")
	}
}

// outputObject is the object that a JSON answer consists of.
func outputObject(s *lexicon.Method) (*lexicon.Object, bool) {
	if s.Output == nil || !strings.HasPrefix(s.Output.Encoding, "application/json") {
		return nil, false
	}
	switch b := s.Output.Schema.(type) {
	case *lexicon.Object:
		return b, true
	case *lexicon.Ref:
		o, ok := b.Target.Schema.(*lexicon.Object)
		return o, ok
	}
	return nil, false
}

func (l *linter) cursor(what string, q *lexicon.Property) {
	if q == nil {
		return
	}
	if _, ok := q.Schema.(*lexicon.String); !ok || q.Required {
		l.report(q.Schema.Node(), "page-cursor", "the "+what+" cursor is not an optional string", `for example {"type": "string"}, and not under "required"`)
	}
}

// requestSize reports a body whose size nothing bounds.
func (l *linter) requestSize(s *lexicon.Method) {
	if s.Input == nil || l.opt.BodyCap != nil && l.opt.BodyCap(l.f.ID) > 0 {
		return
	}
	why := "its encoding has no schema"
	if s.Input.Schema != nil {
		why = unbounded(s.Input.Schema, map[*lexicon.Def]bool{})
	}
	if why != "" {
		l.report(s.Input.Node(), "request-unbounded", "the request has no largest size: "+why, `give every string, byte string and array a "maxLength", or the method a "maxBody" in the policy`)
	}
}

// unbounded says why values of a schema can be of any size, or "".
func unbounded(s lexicon.Schema, open map[*lexicon.Def]bool) string {
	switch s := s.(type) {
	case *lexicon.String:
		if s.MaxLength == nil && s.Enum == nil && s.Const == nil && s.Format.String() == "" {
			return "a string without maxLength"
		}
	case *lexicon.Bytes:
		if s.MaxLength == nil {
			return "bytes without maxLength"
		}
	case *lexicon.Unknown:
		return "a value of any type"
	case *lexicon.Array:
		if s.MaxLength == nil {
			return "an array without maxLength"
		}
		return unbounded(s.Items, open)
	case *lexicon.Object:
		for _, q := range s.Properties {
			if why := unbounded(q.Schema, open); why != "" {
				return why + " in " + lexicon.Printable(q.Name)
			}
		}
	case *lexicon.Record:
		return unbounded(s.Object, open)
	case *lexicon.Union:
		if !s.Closed {
			return "an open union"
		}
		for _, r := range s.Refs {
			if why := unbounded(r, open); why != "" {
				return why
			}
		}
	case *lexicon.Ref:
		if open[s.Target] {
			return "an object that contains itself"
		}
		open[s.Target] = true
		defer delete(open, s.Target)
		return unbounded(s.Target.Schema, open)
	}
	return ""
}
