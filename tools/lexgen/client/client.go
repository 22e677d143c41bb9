// Package client writes a package with a typed client: a method for each
// endpoint, and the generated types under public names. What a request does on
// the network is the business of the runtime package lexclient.
//
// Lexicon texts stand in line comments only, on lines that start with "// ".
package client

import (
	"bytes"
	"cmp"
	"fmt"
	"go/format"
	"path"
	"slices"
	"strconv"
	"strings"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/prose"
)

// Options are what a model cannot know.
type Options struct {
	// Package is the name of the package that is written.
	Package string
	// Types is the import path of the generated types, TypesPackage its name.
	Types, TypesPackage string
	// Runtime and ClientRuntime are the import paths of lexrt and lexclient.
	Runtime, ClientRuntime string
}

// Files returns the files of the package, sorted by name.
func Files(m *ir.Model, opt Options) ([]emit.File, error) {
	w := &writer{model: m, opt: opt, types: opt.TypesPackage}
	if slices.Contains([]string{"context", "io", "url", "lexclient", "lexrt", opt.Package}, w.types) {
		w.types += "types"
	}
	w.names = w.collect()
	w.client, w.newName, w.options = w.free("Client"), w.free("New"), w.free("Options")
	var files []emit.File
	for _, f := range []struct {
		name string
		body func(*bytes.Buffer)
	}{{"client.go", w.clientFile}, {"types.go", w.typesFile}} {
		var b bytes.Buffer
		f.body(&b)
		data, err := format.Source(b.Bytes())
		if err != nil {
			return nil, fmt.Errorf("the generated %s is not valid Go: %w", f.name, err)
		}
		files = append(files, emit.File{Name: f.name, Data: data})
	}
	return files, nil
}

// alias is a name that the package takes over from the generated types.
type alias struct {
	// kind is "type", "const" or "var".
	kind, name, doc string
}

type writer struct {
	model *ir.Model
	opt   Options
	// types is the local name of the package with the types.
	types                    string
	names                    []alias
	client, newName, options string
}

func (w *writer) collect() []alias {
	var out []alias
	add := func(kind, name, doc string) { out = append(out, alias{kind, name, doc}) }
	for _, l := range w.model.Lexicons {
		for _, d := range l.Decls {
			switch d := d.(type) {
			case *ir.Struct:
				add("type", d.GoName, cmp.Or(d.TypeName, d.Ref+" "+d.Path)+sentence(d.Doc))
			case *ir.Union:
				add("type", d.GoName, "a union"+sentence(d.Doc))
			case *ir.Slice:
				add("type", d.GoName, d.Ref+sentence(d.Doc))
			case *ir.Alias:
				add("type", d.GoName, "another name of a type"+sentence(d.Doc))
			case *ir.Token:
				add("const", d.GoName, "the token "+d.Value+sentence(d.Doc))
			case *ir.Enum:
				add("type", d.GoName, "a set of values"+sentence(d.Doc))
				for _, v := range d.Values {
					add("const", v.GoName, "a value of "+d.GoName)
				}
			}
		}
	}
	if w.model.OpenUnions {
		add("type", "UnknownVariant", "a member of an open union that the lexicons did not have when this package was generated")
	}
	for _, e := range w.model.ErrorNames {
		add("var", e.GoName, "the error "+e.Name+", for errors.Is")
	}
	slices.SortFunc(out, func(a, b alias) int { return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.name, b.name)) })
	return out
}

func sentence(doc string) string {
	if doc = prose.Clean(doc); doc != "" {
		return ": " + doc
	}
	return ""
}

// free returns a name that no type has.
func (w *writer) free(name string) string {
	for slices.ContainsFunc(w.names, func(a alias) bool { return a.name == name }) {
		name = "XRPC" + name
	}
	return name
}

// comment writes text as line comments of a readable width.
func comment(b *bytes.Buffer, text string) {
	line := ""
	for word := range strings.FieldsSeq(prose.Clean(text)) {
		if line != "" && len(line)+1+len(word) > emit.CommentWidth {
			b.WriteString("// " + line + "\n")
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	b.WriteString("// " + line + "\n")
}

// importLine imports a package under the name that the code uses.
func importLine(name, importPath string) string {
	if path.Base(importPath) == name {
		return "\t" + strconv.Quote(importPath) + "\n"
	}
	return "\t" + name + " " + strconv.Quote(importPath) + "\n"
}

func (w *writer) typesFile(b *bytes.Buffer) {
	fmt.Fprintf(b, "// %s\n\npackage %s\n\n", emit.Header, w.opt.Package)
	if len(w.names) > 0 {
		b.WriteString("import (\n" + importLine(w.types, w.opt.Types) + ")\n\n")
	}
	for _, kind := range []string{"type", "const", "var"} {
		open := false
		for _, a := range w.names {
			if a.kind != kind {
				continue
			}
			if !open {
				b.WriteString(map[string]string{
					"type": "// The types of requests and answers.\n", "const": "// The named values.\n", "var": "// The declared errors. They are equal to any error of the same name, whatever its message.\n",
				}[kind])
				b.WriteString(kind + " (\n")
				open = true
			}
			comment(b, a.name+" is "+strings.TrimSuffix(a.doc, ".")+".")
			fmt.Fprintf(b, "%s = %s.%s\n", a.name, w.types, a.name)
		}
		if open {
			b.WriteString(")\n\n")
		}
	}
}

func (w *writer) clientFile(b *bytes.Buffer) {
	var body bytes.Buffer
	for _, m := range w.model.Methods {
		w.method(&body, m)
	}
	text := body.String()
	fmt.Fprintf(b, "// %s\n\n", emit.Header)
	comment(b, "Package "+w.opt.Package+" calls a service over XRPC. "+w.client+" has a method for each endpoint; errors that the service answers with are *lexrt.Error.")
	fmt.Fprintf(b, "package %s\n\nimport (\n", w.opt.Package)
	if strings.Contains(text, "context.") {
		b.WriteString(importLine("context", "context"))
	}
	if strings.Contains(text, "url.") {
		b.WriteString(importLine("url", "net/url"))
	}
	b.WriteString("\n")
	if strings.Contains(text, "lexrt.") {
		b.WriteString(importLine("lexrt", w.opt.Runtime))
	}
	b.WriteString(importLine("lexclient", w.opt.ClientRuntime))
	if strings.Contains(text, w.types+".") {
		b.WriteString(importLine(w.types, w.opt.Types))
	}
	b.WriteString(")\n\n")
	comment(b, w.client+" calls the methods of one service. It is safe for use by many goroutines.")
	fmt.Fprintf(b, "type %s struct{ rt *lexclient.Client }\n\n", w.client)
	comment(b, w.options+" are the settings of a "+w.client+".")
	fmt.Fprintf(b, "type %s = lexclient.Options\n\n", w.options)
	comment(b, w.newName+` makes a client of the service at base, for example "https://api.example.com".`)
	fmt.Fprintf(b, "func %s(base string, opt %s) (*%s, error) {\n\trt, err := lexclient.New(base, opt)\n\tif err != nil {\n\t\treturn nil, err\n\t}\n\treturn &%s{rt}, nil\n}\n\n", w.newName, w.options, w.client, w.client)
	b.WriteString(text)
}

// method writes the call of one endpoint.
func (w *writer) method(b *bytes.Buffer, m *ir.Method) {
	about := strings.TrimPrefix(sentence(m.Schema.Description), ":")
	subscription := m.Schema.Kind() == lexicon.KindSubscription
	if subscription {
		comment(b, m.GoName+" follows "+m.NSID+" over a WebSocket."+about)
	} else {
		comment(b, m.GoName+" calls "+m.NSID+"."+about)
	}
	if len(m.Errors) > 0 {
		names := make([]string, len(m.Errors))
		for i, e := range m.Errors {
			names[i] = e.Name
		}
		b.WriteString("//\n")
		comment(b, "Errors: "+strings.Join(names, ", ")+".")
	}
	r := requestOf(m)
	if subscription {
		w.subscription(b, m, r)
		return
	}
	if o := m.Output; o != nil && o.Events && o.Type != nil && o.Type.Kind == ir.StructKind {
		w.events(b, m, r)
		return
	}
	w.call(b, m, r)
}

// request is what a method of the client sends: its parameters in Go, and the expressions for
// the query and the body.
type request struct {
	params      []string
	query, body string
}

func requestOf(m *ir.Method) request {
	r := request{query: "nil", body: "nil"}
	if m.Params != nil {
		r.params, r.query = append(r.params, "params *"+m.Params.GoName), "query"
	}
	switch {
	case m.Input == nil:
	case m.Input.JSON():
		r.params, r.body = append(r.params, "in "+bodyType(m.Input)), "in"
	default:
		r.params, r.body = append(r.params, "in *lexrt.Body"), "in"
	}
	return r
}

// call writes a method that sends a request and returns its answer. Bodies that are not JSON
// go through CallRaw and Send.
func (w *writer) call(b *bytes.Buffer, m *ir.Method, r request) {
	results, verb, result := "error", "Call", ""
	if m.Input != nil && !m.Input.JSON() {
		verb = "Send"
	}
	raw := m.Output != nil && !m.Output.JSON()
	switch {
	case raw && m.Input.JSON():
		results, verb, r.body = "(*lexclient.Answer, error)", "CallRaw", "lexclient.JSON(in)"
	case raw:
		results, verb = "(*lexclient.Answer, error)", "CallRaw"
	case m.Output != nil:
		result = bodyType(m.Output)
		results = "(" + result + ", error)"
	}
	params := append([]string{"ctx context.Context"}, r.params...)
	fmt.Fprintf(b, "func (c *%s) %s(%s) %s {\n", w.client, m.GoName, strings.Join(params, ", "), results)
	w.query(b, m)
	sent := fmt.Sprintf("c.rt.%s(ctx, %s.%s, %s, %s", verb, w.types, m.Var, r.query, r.body)
	switch typ, pointer := strings.CutPrefix(result, "*"); {
	case raw:
		fmt.Fprintf(b, "\treturn %s)\n}\n\n", sent)
	case result == "":
		fmt.Fprintf(b, "\treturn %s, nil)\n}\n\n", sent)
	case pointer:
		fmt.Fprintf(b, "\tout := new(%s)\n\tif err := %s, out); err != nil {\n\t\treturn nil, err\n\t}\n\treturn out, nil\n}\n\n", typ, sent)
	default:
		fmt.Fprintf(b, "\tvar out %s\n\tif err := %s, &out); err != nil {\n\t\treturn nil, err\n\t}\n\treturn out, nil\n}\n\n", typ, sent)
	}
}

func (w *writer) query(b *bytes.Buffer, m *ir.Method) {
	if m.Params != nil {
		b.WriteString("\tvar query url.Values\n\tif params != nil {\n\t\tquery = params.EncodeQuery()\n\t}\n")
	}
}

// events writes the call of an endpoint that answers with an event stream.
func (w *writer) events(b *bytes.Buffer, m *ir.Method, r request) {
	cursor := ""
	if m.Params != nil {
		for _, f := range m.Params.Fields {
			if f.Name == "cursor" && f.Type.Kind == ir.String {
				cursor = f.Name
			}
		}
	}
	b.WriteString("//\n")
	comment(b, "The stream connects when its first event is asked for. It must be closed.")
	event := m.Output.GoName
	fmt.Fprintf(b, "func (c *%s) %s(%s) *lexclient.Stream[%s] {\n", w.client, m.GoName, strings.Join(r.params, ", "), event)
	w.query(b, m)
	fmt.Fprintf(b, "\treturn lexclient.NewStream[%s](c.rt, %s.%s, %s, %q)\n}\n\n", event, w.types, m.Var, r.query, cursor)
}

// subscription writes the call that follows a subscription.
func (w *writer) subscription(b *bytes.Buffer, m *ir.Method, r request) {
	b.WriteString("//\n")
	comment(b, "The subscription connects when its first message is asked for. It must be closed.")
	message, decode := "*lexrt.RawUnion", "lexrt.RawMessage"
	if m.Message != nil {
		message, decode = m.Message.GoName, w.types+"."+m.Decode
	}
	param, member := resume(m)
	fmt.Fprintf(b, "func (c *%s) %s(%s) *lexclient.Subscription[%s] {\n", w.client, m.GoName, strings.Join(r.params, ", "), message)
	w.query(b, m)
	fmt.Fprintf(b, "\treturn lexclient.NewSubscription(c.rt, %s.%s, %s, lexclient.Resume{Param: %q, Member: %q}, %s)\n}\n\n", w.types, m.Var, r.query, param, member, decode)
}

// resume says how a subscription goes on after a break: with the parameter cursor, which takes the
// member seq of messages where it is an integer, and their member cursor where it is a string.
func resume(m *ir.Method) (param, member string) {
	if m.Params == nil || m.Message == nil {
		return "", ""
	}
	for _, f := range m.Params.Fields {
		if f.Name != "cursor" {
			continue
		}
		member := map[ir.Kind]string{ir.Int: "seq", ir.String: "cursor"}[f.Type.Kind]
		for _, message := range m.Message.Members {
			if slices.ContainsFunc(message.Fields, func(g *ir.Field) bool { return g.Name == member && g.Type.Kind == f.Type.Kind }) {
				return f.Name, member
			}
		}
	}
	return "", ""
}

// bodyType is the type of a JSON body. A body that is not a struct has no exported codec of
// its own and stays JSON text.
func bodyType(b *ir.Body) string {
	if b.Type.Kind == ir.StructKind {
		return "*" + b.GoName
	}
	return "lexrt.Raw"
}
