package ir

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

func (b *builder) method(s *lexicon.Method) {
	m := &Method{NSID: b.file.ID, GoName: b.cur.Ident, Lexicon: b.cur, Schema: s}
	b.cur.Method = m
	b.model.Methods = append(b.model.Methods, m)
	m.Var, m.Handler = b.helper("Method"+m.GoName), b.helper(m.GoName+"Handler")
	if s.Params != nil {
		m.Params = b.structType(b.name("Params"), RoleParams, "", "params", s.Params.Description, s.Params).Struct
	}
	m.Input = b.body(s.Input, "Input", RoleInput)
	m.Output = b.body(s.Output, "Output", RoleOutput)
	b.message(m, s.Message)
	for _, e := range s.Errors {
		m.Errors = append(m.Errors, &MethodError{
			Name: e.Name, Doc: e.Description, Status: b.opt.Policy.Status(e.Name),
		})
	}
	slices.SortFunc(m.Errors, func(x, y *MethodError) int { return cmp.Compare(x.Name, y.Name) })
}

// message names the messages of a subscription: a union of its own, or a named one.
func (b *builder) message(m *Method, s lexicon.Schema) {
	switch s := s.(type) {
	case *lexicon.Union:
		m.Message = b.unionType(b.name("Message"), "message", s).Union
	case *lexicon.Ref:
		b.later(func() { m.Message = b.byDef[s.Target].Union })
	default:
		return
	}
	m.Stream, m.NewStream, m.Decode = b.helper(m.GoName+"Stream"), b.helper("New"+m.GoName+"Stream"), b.helper("Decode"+m.GoName+"Message")
}

// helper names something that is generated beside a definition.
func (b *builder) helper(name string) string {
	return b.cur.pack.names.take(name, owner{place: "the generated " + name + " of " + b.def.Ref(), lexicon: b.file.ID, long: name + "_"})
}

func (b *builder) body(s *lexicon.Body, suffix string, role Role) *Body {
	if s == nil {
		return nil
	}
	body := &Body{Encoding: s.Encoding, Doc: s.Description}
	media, _, _ := strings.Cut(s.Encoding, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	body.Events = media == "text/event-stream"
	switch obj, isObject := s.Schema.(*lexicon.Object); {
	case s.Schema != nil && isObject:
		body.GoName = b.name(suffix)
		body.Type = b.structType(body.GoName, role, "", strings.ToLower(suffix), cmp.Or(obj.Description, s.Description), obj)
	case s.Schema != nil:
		body.GoName = b.name(suffix)
		b.later(func() { b.bodyRef(body, s.Schema, suffix) })
	case media == "application/json":
		body.Type = &Type{Kind: Raw, Schema: rawSchema}
	}
	return body
}

// bodyRef names a body that is a reference or a union.
func (b *builder) bodyRef(body *Body, s lexicon.Schema, suffix string) {
	if u, ok := s.(*lexicon.Union); ok {
		body.Type = b.unionType(body.GoName, strings.ToLower(suffix), u)
		return
	}
	body.Type = b.typeOf(s, "", "")
	b.add(&Alias{GoName: body.GoName, Target: body.Type, Doc: s.Doc()})
}

var rawSchema lexicon.Schema = &lexicon.Unknown{}

// breakCycles makes fields pointers where a struct would contain itself.
func (b *builder) breakCycles() {
	for _, l := range b.model.Lexicons {
		for _, d := range l.Decls {
			st, ok := d.(*Struct)
			if !ok {
				continue
			}
			for _, f := range st.Fields {
				if f.Mode == Plain && f.Type.Kind == StructKind && holds(f.Type.Struct, st, map[*Struct]bool{}) {
					f.Mode = Pointer
				}
			}
		}
	}
}

// holds reports whether a value of type s contains one of type target.
func holds(s, target *Struct, seen map[*Struct]bool) bool {
	if s == target {
		return true
	}
	if seen[s] {
		return false
	}
	seen[s] = true
	for _, f := range s.Fields {
		if f.Mode == Plain && f.Type.Kind == StructKind && holds(f.Type.Struct, target, seen) {
			return true
		}
	}
	return false
}

// finish names the constants and checks what the policy says about the methods.
func (b *builder) finish() {
	slices.SortFunc(b.model.Methods, func(x, y *Method) int { return cmp.Compare(x.NSID, y.NSID) })
	for _, l := range b.model.Lexicons {
		b.file, b.cur = l.File, l
		for _, d := range l.Decls {
			if e, ok := d.(*Enum); ok {
				for i := range e.Values {
					v := &e.Values[i]
					v.GoName = b.cur.pack.names.take(e.GoName+v.GoName, owner{place: e.Ref + " value " + strconv.Quote(v.Text), lexicon: b.file.ID, long: e.GoName + "_" + v.GoName})
				}
			}
			if st, ok := d.(*Struct); ok {
				slices.SortFunc(st.Unions, func(x, y *Union) int { return cmp.Compare(x.GoName, y.GoName) })
			}
		}
	}
	names := map[string]string{}
	for _, m := range b.model.Methods {
		b.file, b.cur = m.Lexicon.File, m.Lexicon
		for _, e := range m.Errors {
			if names[e.Name] == "" {
				names[e.Name] = b.cur.pack.names.take("Err"+GoName(e.Name), owner{place: "the error " + e.Name, lexicon: "errors", long: "Err_" + GoName(e.Name)})
				b.model.ErrorNames = append(b.model.ErrorNames, &ErrorName{Name: e.Name, Status: e.Status, GoName: names[e.Name]})
			}
			e.GoName = names[e.Name]
		}
		b.applyPolicy(m)
	}
	slices.SortFunc(b.model.ErrorNames, func(x, y *ErrorName) int { return cmp.Compare(x.Name, y.Name) })
	b.policyDiags()
}
