// Package openapi describes the methods of a model as an OpenAPI 3.1 document,
// for tools that know HTTP and not Lexicon.
//
// The document says nothing that is not in the lexicons or the policy. What
// JSON Schema cannot express (lengths in bytes, graphemes, known values) stands
// in extensions whose names start with x-. It is the same for the same model.
package openapi

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/prose"
	"mls-server/tools/lexgen/sample"
)

// Options are what a model cannot know.
type Options struct {
	// Title names the service.
	Title  string
	Policy *ir.Policy
}

// Document returns the whole document as indented JSON that ends in a line break.
func Document(m *ir.Model, opt Options) ([]byte, error) {
	d := &document{model: m, opt: opt, needed: map[ir.Decl]bool{}}
	if d.opt.Policy == nil {
		d.opt.Policy = &ir.Policy{}
	}
	paths := object{}
	var tags []any
	for _, g := range Groups(m, d.opt.Policy) {
		tags = append(tags, object{{"name", g.Name}})
		for _, method := range g.Methods {
			d.groups = append(d.groups, g.Name)
			paths.set("/xrpc/"+method.NSID, d.path(method, g.Name))
		}
	}
	slices.SortFunc(paths, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	doc := object{
		{"openapi", "3.1.0"},
		{"info", object{
			{"title", opt.Title},
			{"version", "1"},
			{"description", "Generated from lexicons; the lexicons are what counts. Errors are JSON objects with the members `error`, a name to match on, and `message`, a text for people."},
		}},
		{"servers", []any{object{{"url", "/"}}}},
		{"security", []any{object{{"serviceAuth", []any{}}}}},
		{"tags", tags},
		{"paths", paths},
		{"components", object{
			{"securitySchemes", object{{"serviceAuth", object{
				{"type", "http"},
				{"scheme", "bearer"},
				{"bearerFormat", "JWT"},
				{"description", "An atproto service token (com.atproto.server.getServiceAuth), signed by the account's key, whose lxm is the method and whose aud is this service."},
			}}}},
			{"schemas", d.schemas()},
		}},
	}
	out, err := appendJSON(nil, doc)
	if err != nil {
		return nil, fmt.Errorf("writing the document: %w", err)
	}
	v := jsontext.Value(out)
	if err := v.Indent(jsontext.WithIndent("  ")); err != nil {
		return nil, fmt.Errorf("formatting the document: %w", err)
	}
	return append(v, '\n'), nil
}

// Group is a subject with its methods, in the policy's order, the rest sorted by NSID.
type Group struct {
	Name    string
	Methods []*ir.Method
}

// Groups sorts the methods by the subjects that the policy names, in its order;
// the rest comes last, under the part of the NSID before the name.
func Groups(m *ir.Model, p *ir.Policy) []Group {
	var groups []Group
	index := map[string]int{}
	at := func(name string) *Group {
		i, ok := index[name]
		if !ok {
			i = len(groups)
			index[name] = i
			groups = append(groups, Group{Name: name})
		}
		return &groups[i]
	}
	subject, place := map[string]string{}, map[string]int{}
	for _, s := range p.Subjects {
		at(s.Name)
		for i, id := range s.Methods {
			subject[id], place[id] = s.Name, i
		}
	}
	for _, method := range m.Methods {
		name, ok := subject[method.NSID]
		if !ok {
			name = method.NSID[:strings.LastIndexByte(method.NSID, '.')]
		}
		g := at(name)
		g.Methods = append(g.Methods, method)
	}
	for _, g := range groups {
		slices.SortStableFunc(g.Methods, func(a, b *ir.Method) int { return cmp.Compare(place[a.NSID], place[b.NSID]) })
	}
	return slices.DeleteFunc(groups, func(g Group) bool { return len(g.Methods) == 0 })
}

// document is one document that is being made.
type document struct {
	model  *ir.Model
	opt    Options
	groups []string
	needed map[ir.Decl]bool
	queue  []ir.Decl
}

// need makes sure that a type becomes a component.
func (d *document) need(decl ir.Decl) {
	if !d.needed[decl] {
		d.needed[decl] = true
		d.queue = append(d.queue, decl)
	}
}

func declName(decl ir.Decl) string {
	switch t := decl.(type) {
	case *ir.Struct:
		return t.GoName
	case *ir.Union:
		return t.GoName
	case *ir.Slice:
		return t.GoName
	}
	return ""
}

// schemas are the components: every definition of the set that is a type, and
// what the methods use.
func (d *document) schemas() object {
	for _, l := range d.model.Lexicons {
		for _, decl := range l.Decls {
			if s, ok := decl.(*ir.Struct); ok && s.Role != ir.RoleParams {
				d.need(s)
			}
		}
	}
	out := object{{"XRPCError", object{
		{"type", "object"},
		{"description", "What every answer with a status of 400 or more holds."},
		{"required", []string{"error"}},
		{"properties", object{
			{"error", object{{"type", "string"}, {"description", "Name of the error, to match on."}}},
			{"message", object{{"type", "string"}, {"description", "Text for people."}}},
		}},
	}}}
	for len(d.queue) > 0 {
		decl := d.queue[0]
		d.queue = d.queue[1:]
		out.set(declName(decl), d.component(decl))
	}
	slices.SortFunc(out, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return out
}

func (d *document) path(m *ir.Method, group string) object {
	verb := "post"
	if m.Schema.Kind() != lexicon.KindProcedure {
		verb = "get"
	}
	op := object{{"operationId", m.NSID}, {"tags", []string{group}}}
	summary, _, _ := strings.Cut(prose.Clean(m.Schema.Description), ". ")
	op.setText("summary", strings.TrimSuffix(summary, "."))
	op.setText("description", prose.Markdown(m.Schema.Description))
	if m.Open {
		op.set("security", []any{})
	}
	if m.Params != nil {
		var params []any
		for i, f := range m.Params.Fields {
			params = append(params, d.param(f, m.Params.Schema.Properties[i].Schema.Doc()))
		}
		op.set("parameters", params)
	}
	if m.Input != nil {
		op.set("requestBody", object{{"required", true}, {"content", d.content(m.Input)}})
	}
	op.set("responses", d.responses(m))
	op.set("x-rate-class", m.RateClass)
	if len(m.Cases) > 0 {
		var cases []any
		for _, c := range m.Cases {
			cases = append(cases, object{{"member", c.Field.Name}, {"value", c.Value}, {"x-rate-class", c.RateClass}, {"x-max-body-bytes", c.MaxBody}})
		}
		op.set("x-cases", cases)
	}
	if m.ByteClass != "" {
		op.set("x-byte-class", m.ByteClass)
	}
	if m.MaxBody > 0 {
		op.set("x-max-body-bytes", m.MaxBody)
	}
	return object{{verb, op}}
}

func (d *document) param(f *ir.Field, doc string) object {
	o := object{{"name", f.Name}, {"in", "query"}}
	o.setText("description", describe(doc, f.Type))
	if f.Required {
		o.set("required", true)
	}
	o.set("schema", d.schema(f.Type))
	if f.Type.Kind == ir.Array {
		o.set("style", "form")
		o.set("explode", true)
	}
	return o
}

func (d *document) content(b *ir.Body) object {
	var out object
	for media := range strings.SplitSeq(b.Encoding, ",") {
		entry := object{}
		switch {
		case b.Events && b.Type != nil:
			entry.set("schema", object{
				{"type", "string"},
				{"description", "Server-sent events. The data of each is JSON of the type that x-event names; id is the cursor to resume after."},
			})
			entry.set("x-event", d.schema(b.Type))
		case b.Type != nil:
			entry.set("schema", d.schema(b.Type))
			entry.set("example", raw(sample.JSON(b.Type)))
		default:
			entry.set("schema", object{})
		}
		out.set(strings.TrimSpace(media), entry)
	}
	return out
}

func (d *document) responses(m *ir.Method) object {
	ok := object{{"description", "Done."}}
	if m.Output != nil {
		ok = object{{"description", cmp.Or(prose.Markdown(m.Output.Doc), "Done.")}, {"content", d.content(m.Output)}}
	}
	if m.Schema.Kind() == lexicon.KindSubscription {
		ok = object{{"description", "The connection becomes a WebSocket."}}
		if m.Message != nil {
			d.need(m.Message)
			ok.set("x-message", ref(m.Message.GoName))
		}
	}
	status := "200"
	if m.Schema.Kind() == lexicon.KindSubscription {
		status = "101"
	}
	out := object{{status, ok}}
	byStatus := map[int][]Problem{}
	var statuses []int
	for _, p := range Problems(m, d.opt.Policy) {
		if byStatus[p.Status] == nil {
			statuses = append(statuses, p.Status)
		}
		byStatus[p.Status] = append(byStatus[p.Status], p)
	}
	slices.Sort(statuses)
	for _, s := range statuses {
		var names []any
		var lines []string
		for _, p := range byStatus[s] {
			names = append(names, p.Name)
			line := prose.Code(p.Name)
			if p.Doc != "" {
				line += ": " + prose.Markdown(p.Doc)
			}
			lines = append(lines, "- "+line)
		}
		out.set(itoa(s), object{
			{"description", strings.Join(lines, "\n")},
			{"content", object{{"application/json", object{
				{"schema", object{{"allOf", []any{ref("XRPCError"), object{{"properties", object{{"error", object{{"enum", names}}}}}}}}}},
				{"example", object{{"error", names[0]}, {"message", "A text for people."}}},
			}}}},
		})
	}
	return out
}

// Problem is an error that a method can answer with.
type Problem struct {
	Name   string
	Status int
	// Doc is the lexicon's text, or ours for errors that all methods have.
	Doc string
	// Declared is true for the lexicon's own errors.
	Declared bool
}

// Problems lists the errors of a method: those that it declares, and those that
// the policy gives a status though no lexicon declares them, because any method
// may answer with them.
func Problems(m *ir.Method, p *ir.Policy) []Problem {
	var out []Problem
	seen := map[string]bool{}
	for _, e := range m.Errors {
		seen[e.Name] = true
		out = append(out, Problem{e.Name, e.Status, e.Doc, true})
	}
	for _, c := range p.Common {
		if !seen[c.Name] && concerns(&c, m) {
			seen[c.Name] = true
			out = append(out, Problem{c.Name, p.CommonStatus(c), c.Description, false})
		}
	}
	slices.SortFunc(out, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Status, b.Status), cmp.Compare(a.Name, b.Name)) })
	return out
}

// concerns reports whether the method can answer with a common error.
func concerns(c *ir.CommonError, m *ir.Method) bool {
	return (len(c.Kinds) == 0 || slices.Contains(c.Kinds, string(m.Schema.Kind()))) &&
		(len(c.Fields) == 0 || takes(m, c.Fields)) && (!c.Token || !m.Open)
}

// takes reports whether the method's input has one of the fields.
func takes(m *ir.Method, fields []string) bool {
	if !m.Input.JSON() || m.Input.Type.Kind != ir.StructKind {
		return false
	}
	return slices.ContainsFunc(m.Input.Type.Struct.Fields, func(f *ir.Field) bool { return slices.Contains(fields, f.Name) })
}
