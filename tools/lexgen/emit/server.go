package emit

import (
	"strconv"
	"strings"

	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

const ctxPath = "context"

func (e *emitter) methodsFile() (File, error) {
	u := e.newUnit("methods.go", nil)
	var all []jen.Code
	for _, m := range e.model.Methods {
		name := m.Var
		all = append(all, jen.Id(name))
		u.add(name, doc(name+" describes "+m.NSID+".", m.Schema.Description),
			jen.Var().Id(name).Op("=").Op("&").Add(u.rt("Method")).Values(u.methodDict(m)))
	}
	u.add("Methods", doc("Methods returns the descriptors of all methods, sorted by NSID. The descriptors are shared and must not be changed."),
		jen.Func().Id("Methods").Params().Index().Op("*").Add(u.rt("Method")).Block(
			jen.Return(jen.Index().Op("*").Add(u.rt("Method")).Custom(jen.Options{Open: "{", Close: "}", Separator: ",", Multi: true}, all...))))
	return u.finish()
}

func (u *unit) methodDict(m *ir.Method) jen.Dict {
	kind := map[lexicon.Kind]string{lexicon.KindQuery: "Query", lexicon.KindProcedure: "Procedure", lexicon.KindSubscription: "Subscription"}[m.Schema.Kind()]
	d := jen.Dict{
		jen.Id("NSID"):      jen.Lit(m.NSID),
		jen.Id("Kind"):      u.rt(kind),
		jen.Id("RateClass"): jen.Lit(m.RateClass),
	}
	if m.Input != nil {
		d[jen.Id("Input")] = jen.Lit(m.Input.Encoding)
		d[jen.Id("MaxBody")] = jen.Op(strconv.FormatInt(m.MaxBody, 10))
	}
	if m.Output != nil {
		d[jen.Id("Output")] = jen.Lit(m.Output.Encoding)
	}
	if m.Changes {
		d[jen.Id("Changes")] = jen.True()
	}
	if m.Open {
		d[jen.Id("Open")] = jen.True()
	}
	if m.Anonymous {
		d[jen.Id("Anonymous")] = jen.True()
	}
	if m.ByteClass != "" {
		d[jen.Id("ByteClass")] = jen.Lit(m.ByteClass)
	}
	if len(m.Cases) > 0 {
		d[jen.Id("Cases")] = jen.Index().Add(u.rt("Case")).ValuesFunc(func(g *jen.Group) {
			for _, c := range m.Cases {
				g.Values(jen.Id("RateClass").Op(":").Lit(c.RateClass), jen.Id("MaxBody").Op(":").Op(strconv.FormatInt(c.MaxBody, 10)))
			}
		})
	}
	if m.Privileged {
		d[jen.Id("Privileged")] = jen.True()
	}
	if len(m.Errors) > 0 {
		d[jen.Id("Errors")] = jen.Index().Op("*").Add(u.rt("Error")).ValuesFunc(func(g *jen.Group) {
			for _, e := range m.Errors {
				g.Id(e.GoName)
			}
		})
	}
	if len(m.Violations) > 0 {
		d[jen.Id("Violations")] = jen.Index().Add(u.rt("Violation")).CustomFunc(jen.Options{Open: "{", Close: "}", Separator: ",", Multi: true}, func(g *jen.Group) {
			for _, v := range m.Violations {
				g.Values(jen.Id("Pointer").Op(":").Lit(v.Pointer), jen.Id("Rule").Op(":").Lit(v.Rule), jen.Id("Error").Op(":").Id(v.Error.GoName))
			}
		})
	}
	return d
}

func (e *emitter) errorsFile() (File, error) {
	u := e.newUnit("errors.go", nil)
	u.file.Add(comment("The declared errors. For errors.Is they are equal to any error of the same name, whatever its message. They are shared and must not be changed."))
	u.file.Var().DefsFunc(func(g *jen.Group) {
		for _, n := range e.model.ErrorNames {
			u.planned = append(u.planned, n.GoName)
			g.Id(n.GoName).Op("=").Op("&").Add(u.rt("Error")).Values(jen.Id("Name").Op(":").Lit(n.Name), jen.Id("Status").Op(":").Lit(n.Status))
		}
	})
	return u.finish()
}

// signature is the handler's method without its name.
func (e *emitter) signature(m *ir.Method, qual string) (params, results []jen.Code) {
	own := func(name string) *jen.Statement {
		if qual == "" {
			return jen.Id(name)
		}
		return jen.Qual(qual, name)
	}
	params = []jen.Code{jen.Id("ctx").Qual(ctxPath, "Context"), jen.Id("caller").Add(e.rt("Caller"))}
	if m.Params != nil {
		params = append(params, jen.Id("params").Op("*").Add(own(m.Params.GoName)))
	}
	switch {
	case m.Input == nil:
	case !m.Input.JSON():
		params = append(params, jen.Id("in").Op("*").Add(e.rt("Body")))
	default:
		params = append(params, jen.Id("in").Add(e.bodyType(m.Input, own)))
	}
	switch {
	case m.Schema.Kind() == lexicon.KindSubscription:
		stream := e.rt("Subscribed")
		if m.Message != nil {
			stream = jen.Op("*").Add(own(m.Stream))
		}
		return append(params, jen.Id("out").Add(stream)), []jen.Code{jen.Error()}
	case m.Output == nil:
		return params, []jen.Code{jen.Error()}
	case m.Output.Events:
		return append(params, jen.Id("out").Add(e.rt("EventStream"))), []jen.Code{jen.Error()}
	case !m.Output.JSON():
		return append(params, jen.Id("out").Qual("io", "Writer")), []jen.Code{jen.Error()}
	}
	return params, []jen.Code{e.bodyType(m.Output, own), jen.Error()}
}

// bodyType is the type of a JSON body as a handler sees it.
func (e *emitter) bodyType(b *ir.Body, own func(string) *jen.Statement) *jen.Statement {
	switch {
	case b.GoName == "":
		return e.rt("Raw")
	case b.Type.Kind == ir.StructKind:
		return jen.Op("*").Add(own(b.GoName))
	}
	return own(b.GoName)
}

func (e *emitter) serviceFile() (File, error) {
	u := e.newUnit("service.go", nil)
	u.add("Service", doc("Service has one method for each endpoint. A type that implements it can be mounted; there is no default implementation, so a missing handler does not compile."),
		jen.Type().Id("Service").InterfaceFunc(func(g *jen.Group) {
			for _, m := range e.model.Methods {
				g.Id(m.Handler)
			}
		}))
	for _, m := range e.model.Methods {
		params, results := e.signature(m, "")
		u.add(m.Handler, doc(m.GoName+"Handler handles "+m.NSID+"."),
			jen.Type().Id(m.Handler).Interface(
				doc(handlerDoc(m)).Id(m.GoName).Params(params...).Params(results...)))
		if m.Message != nil {
			u.stream(m)
		}
	}
	return u.finish()
}

// handlerDoc is the description of a method with its errors.
func handlerDoc(m *ir.Method) string {
	parts := []string{m.GoName + " handles " + m.NSID + "."}
	if d := strings.TrimSpace(m.Schema.Description); d != "" {
		parts = append(parts, d)
	}
	if len(m.Errors) > 0 {
		var names []string
		for _, e := range m.Errors {
			names = append(names, e.Name)
		}
		parts = append(parts, "Errors: "+strings.Join(names, ", ")+".")
	}
	return strings.Join(parts, "\n\n")
}

func (e *emitter) mountFile() (File, error) {
	u := e.newUnit("mount.go", nil)
	registrar := "Registrar"
	for _, m := range e.model.Methods {
		if m.Schema.Kind() == lexicon.KindSubscription {
			registrar = "SubscriptionRegistrar"
		}
	}
	u.add("Mount", doc("Mount registers every method of s with r, each with its own descriptor."),
		jen.Func().Id("Mount").Params(jen.Id("r").Add(u.rt(registrar)), jen.Id("s").Id("Service")).BlockFunc(func(g *jen.Group) {
			for _, m := range e.model.Methods {
				g.Id("r").Dot(registerFunc(m)).Call(jen.Id(m.Var), u.endpoint(m))
			}
		}))
	return u.finish()
}

func registerFunc(m *ir.Method) string {
	switch {
	case m.Schema.Kind() == lexicon.KindSubscription:
		return "HandleSubscription"
	case m.Output != nil && m.Output.Events:
		return "HandleStream"
	case m.Output != nil && !m.Output.JSON():
		return "HandleRaw"
	}
	return "Handle"
}

// endpoint is the function that decodes a request and calls the handler.
func (u *unit) endpoint(m *ir.Method) jen.Code {
	kind := registerFunc(m)
	if kind == "Handle" && m.Output != nil && m.Output.Type.Kind == ir.StructKind {
		switch {
		case m.Params != nil && m.Input == nil:
			return u.rt("ParamsEndpoint").Call(jen.Id("s").Dot(m.GoName))
		case m.Params == nil && m.Input.JSON() && m.Input.Type.Kind == ir.StructKind && m.Input.Type.Struct.Record == nil:
			return u.rt("InputEndpoint").Call(jen.Id("s").Dot(m.GoName))
		}
	}
	if kind == "HandleSubscription" {
		return u.subscribe(m)
	}
	params := []jen.Code{jen.Id("ctx").Qual(ctxPath, "Context"), jen.Id("req").Op("*").Add(u.rt("Request"))}
	results := []jen.Code{jen.Error()}
	fail := func() jen.Code { return jen.Return(jen.Err()) }
	switch kind {
	case "Handle":
		results = []jen.Code{u.rt("Response"), jen.Error()}
		fail = func() jen.Code { return jen.Return(jen.Nil(), jen.Err()) }
	case "HandleStream":
		params = append(params, jen.Id("out").Add(u.rt("EventStream")))
	case "HandleRaw":
		params = append(params, jen.Id("out").Qual("io", "Writer"))
	}
	return jen.Func().Params(params...).Params(results...).BlockFunc(func(g *jen.Group) {
		args := []jen.Code{jen.Id("ctx"), jen.Id("req").Dot("Caller")}
		if m.Params != nil {
			g.Id("params").Op(":=").New(jen.Id(m.Params.GoName))
			g.If(jen.Err().Op(":=").Id("req").Dot("DecodeParams").Call(jen.Id("params")), jen.Err().Op("!=").Nil()).Block(fail())
			args = append(args, jen.Id("params"))
		}
		if m.Input != nil {
			args = append(args, u.readInput(g, m, fail))
		}
		if kind != "Handle" {
			args = append(args, jen.Id("out"))
		}
		call := jen.Id("s").Dot(m.GoName).Call(args...)
		u.answer(g, m, kind, call)
	})
}

func (u *unit) readInput(g *jen.Group, m *ir.Method, fail func() jen.Code) jen.Code {
	in := jen.Id("in")
	switch {
	case !m.Input.JSON():
		return jen.Id("req").Dot("StreamBody").Call()
	case m.Input.Type.Kind == ir.StructKind && m.Input.Type.Struct.Record != nil:
		g.Id("in").Op(":=").New(jen.Id(m.Input.GoName))
		g.If(jen.Err().Op(":=").Id("in").Dot("UnmarshalJSON").Call(jen.Id("req").Dot("Body")), jen.Err().Op("!=").Nil()).Block(fail())
	case m.Input.Type.Kind == ir.StructKind:
		g.Id("in").Op(":=").New(jen.Id(m.Input.GoName))
		g.If(jen.Err().Op(":=").Id("req").Dot("Decode").Call(jen.Id("in")), jen.Err().Op("!=").Nil()).Block(fail())
	default:
		g.Var().Id("in").Add(u.bodyType(m.Input, jen.Id))
		g.If(jen.Err().Op(":=").Add(u.rt("DecodeBody")).Call(jen.Id("req"), jen.Op("&").Id("in"), u.valueFunc(m.Input.Type)), jen.Err().Op("!=").Nil()).Block(fail())
	}
	return in
}

func (u *unit) answer(g *jen.Group, m *ir.Method, kind string, call *jen.Statement) {
	switch {
	case kind != "Handle":
		g.Return(call)
	case m.Output == nil:
		g.Return(jen.Nil(), call)
	case m.Output.Type.Kind == ir.StructKind:
		g.Return(u.rt("Answer").Call(call))
	case m.Output.GoName == "":
		g.List(jen.Id("out"), jen.Err()).Op(":=").Add(call)
		g.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), jen.Err()))
		g.Return(jen.Id("out"), jen.Nil())
	default:
		g.List(jen.Id("out"), jen.Err()).Op(":=").Add(call)
		g.If(jen.Err().Op("!=").Nil()).Block(jen.Return(jen.Nil(), jen.Err()))
		g.Return(u.rt("ResponseFunc").Call(jen.Func().Params(jen.Id("b").Index().Byte()).Index().Byte().Block(
			jen.Return(u.rt("AppendValue").Call(jen.Id("b"), jen.Op("&").Id("out"), u.valueFunc(m.Output.Type))))), jen.Nil())
	}
}
