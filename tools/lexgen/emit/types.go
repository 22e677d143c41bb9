package emit

import (
	"strconv"
	"strings"

	"github.com/dave/jennifer/jen"
	"mls-server/lexrt"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/prose"
)

func (e *emitter) lexiconFile(l *ir.Lexicon) (File, error) {
	u := e.newUnit(l.GoFile, l)
	for _, d := range l.Decls {
		switch d := d.(type) {
		case *ir.Struct:
			u.structDecl(d)
		case *ir.Union:
			u.unionDecl(d)
		case *ir.Slice:
			u.sliceDecl(d)
		case *ir.Enum:
			u.enumDecl(d)
		case *ir.Token:
			u.add(d.GoName, doc(d.GoName+" is the token "+d.Value+".", d.Doc), jen.Const().Id(d.GoName).Op("=").Lit(d.Value))
		case *ir.Alias:
			u.add(d.GoName, doc(d.GoName+" is "+kindText(d.Target)+".", d.Doc), jen.Type().Id(d.GoName).Op("=").Add(u.goType(d.Target)))
		case *ir.PermissionSet:
			u.permissionSet(d)
		}
	}
	if l.Method != nil && l.Method.Message != nil {
		u.messageDecoder(l.Method)
	}
	if l.Method != nil && len(l.Method.Cases) > 0 {
		u.rateClass(l.Method)
	}
	return u.finish()
}

// rateClass writes the method by which an input says what its call draws from.
func (u *unit) rateClass(m *ir.Method) {
	name := m.Input.Type.Struct.GoName
	u.add(name+".RateClass", doc("RateClass is the rate class that the call draws from."),
		jen.Func().Params(jen.Id("v").Op("*").Id(name)).Id("RateClass").Params().String().BlockFunc(func(g *jen.Group) {
			for _, c := range m.Cases {
				field := jen.Id("v").Dot(c.Field.GoName)
				is := field.Clone().Op("==").Lit(c.Value)
				if c.Field.Mode == ir.Pointer {
					is = field.Clone().Op("!=").Nil().Op("&&").Op("*").Add(field.Clone()).Op("==").Lit(c.Value)
				}
				g.If(is).Block(jen.Return(jen.Lit(c.RateClass)))
			}
			g.Return(jen.Lit(m.RateClass))
		}))
}

func kindText(t *ir.Type) string {
	if t.Kind == ir.StructKind {
		return "another name of " + t.Struct.GoName
	}
	return "a value of the lexicon type " + string(t.Schema.Kind())
}

var formatTypes = map[lexrt.Format]string{
	lexrt.FormatATIdentifier: "AtIdentifier", lexrt.FormatATURI: "ATURI", lexrt.FormatCID: "CIDString", lexrt.FormatDatetime: "Datetime",
	lexrt.FormatDID: "DID", lexrt.FormatHandle: "Handle", lexrt.FormatLanguage: "Language", lexrt.FormatNSID: "NSID",
	lexrt.FormatRecordKey: "RecordKey", lexrt.FormatTID: "TID", lexrt.FormatURI: "URI",
}

// goType is the Go type of t, without pointer.
func (e *emitter) goType(t *ir.Type) *jen.Statement {
	switch t.Kind {
	case ir.Bool:
		return jen.Bool()
	case ir.Int:
		if t.Enum != nil {
			return e.id(t.Enum.Import, t.Enum.GoName)
		}
		return jen.Int64()
	case ir.String:
		if t.Enum != nil {
			return e.id(t.Enum.Import, t.Enum.GoName)
		}
		if s, ok := t.Schema.(*lexicon.String); ok && s.Format != lexrt.FormatNone {
			return e.rt(formatTypes[s.Format])
		}
		return jen.String()
	case ir.Bytes:
		return jen.Index().Byte()
	case ir.CID:
		return e.rt("CID")
	case ir.Blob:
		return e.rt("Blob")
	case ir.Unknown, ir.Raw:
		return e.rt("Raw")
	case ir.Array:
		return jen.Index().Add(e.goType(t.Elem))
	case ir.StructKind:
		return e.id(t.Struct.Import, t.Struct.GoName)
	case ir.UnionKind:
		return e.id(t.Union.Import, t.Union.GoName)
	case ir.SliceKind:
		return e.id(t.Slice.Import, t.Slice.GoName)
	}
	return jen.Any()
}

func (e *emitter) fieldType(f *ir.Field) *jen.Statement {
	t := e.goType(f.Type)
	switch f.Mode {
	case ir.Pointer:
		return jen.Op("*").Add(t)
	case ir.OptNull:
		return e.rt("OptNull").Types(t)
	default:
		return t
	}
}

func (u *unit) structDecl(s *ir.Struct) {
	u.add(s.GoName, doc(structDoc(s), s.Doc), jen.Type().Id(s.GoName).StructFunc(func(g *jen.Group) {
		for _, f := range s.Fields {
			if text := fieldDoc(f); text != "" {
				g.Add(comment(text))
			}
			g.Id(f.GoName).Add(u.fieldType(f))
		}
		if s.Extra != "" {
			g.Add(comment("Members of a record that the schema does not know. They are written back as they were read."))
			g.Id(s.Extra).Add(u.rt("Extra"))
		}
	}))
	u.lex(s)
	if s.Role == ir.RoleParams {
		u.params(s)
		return
	}
	if s.Record != nil {
		u.recordConsts(s)
	}
	u.codec(s)
	u.markers(s)
}

func (u *unit) markers(s *ir.Struct) {
	for _, un := range s.Unions {
		u.add(s.GoName+"."+marker(un), jen.Func().Params(jen.Op("*").Id(s.GoName)).Id(marker(un)).Params().Custom(oneLine))
	}
}

func structDoc(s *ir.Struct) string {
	switch {
	case s.Role == ir.RoleParams:
		return s.GoName + " has the parameters of " + s.Ref + "."
	case s.Role == ir.RoleInput:
		return s.GoName + " is the input of " + s.Ref + "."
	case s.Role == ir.RoleOutput:
		return s.GoName + " is the output of " + s.Ref + "."
	case s.Role == ir.RoleRecord:
		return s.GoName + " is a record of the collection " + s.Ref + "."
	case s.TypeName == "":
		return s.GoName + " is the object at " + s.Path + " in " + s.Ref + "."
	}
	return s.GoName + " is " + s.Ref + "."
}

// fieldDoc is the description and the constraints of a field.
func fieldDoc(f *ir.Field) string {
	var parts []string
	if d := strings.TrimSpace(f.Doc()); d != "" {
		parts = append(parts, d)
	}
	if c := limitsText(f); c != "" {
		parts = append(parts, c)
	}
	return strings.Join(parts, "\n")
}

// limitsText says what values the field takes, as one sentence.
func limitsText(f *ir.Field) string {
	out := prose.Limits(f.Type.Schema)
	switch {
	case f.Nullable && f.Required:
		out = append(out, "nil is null")
	case f.Mode == ir.Pointer && !f.Required, f.Mode == ir.Nil && !f.Required:
		out = append(out, "optional")
	}
	if len(out) == 0 {
		return ""
	}
	text := strings.Join(out, ", ")
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func (u *unit) enumDecl(d *ir.Enum) {
	what := " is an open set: values other than its constants are accepted."
	if d.Closed {
		what = " is a closed set: no other values are accepted."
	}
	base := jen.String()
	if d.Int {
		base = jen.Int64()
	}
	u.add(d.GoName, doc(d.GoName+what, d.Doc), jen.Type().Id(d.GoName).Add(base))
	u.file.Add(jen.Comment("// The values of " + d.GoName + "."))
	u.file.Const().DefsFunc(func(g *jen.Group) {
		for _, v := range d.Values {
			u.planned = append(u.planned, v.GoName)
			if d.Int {
				g.Id(v.GoName).Id(d.GoName).Op("=").Op(strconv.FormatInt(v.Int, 10))
				continue
			}
			g.Id(v.GoName).Id(d.GoName).Op("=").Lit(v.Text)
		}
	})
	u.file.Line()
	rule, values := u.ruleValues(d.Schema)
	u.add(enumRule(d), jen.Var().Id(enumRule(d)).Op("=").Add(u.rt(rule)).Values(values...))
	u.add(d.GoName+".Known", doc("Known reports whether v is one of the constants."),
		jen.Func().Params(jen.Id("v").Id(d.GoName)).Id("Known").Params().Bool().Custom(oneLine,
			jen.Return(jen.Id(enumRule(d)).Dot("Lists").Call(base.Clone().Parens(jen.Id("v"))))))
}

func (u *unit) sliceDecl(d *ir.Slice) {
	u.add(d.GoName, doc(d.GoName+" is "+d.Ref+".", d.Doc), jen.Type().Id(d.GoName).Index().Add(u.goType(d.Elem)))
	t := arrayOf(d)
	name, v := d.Func, jen.Id("v").Id(d.GoName)
	u.add(d.GoName+".MarshalJSON", doc("MarshalJSON is for package encoding/json."),
		jen.Func().Params(v).Id("MarshalJSON").Params().Params(jen.Index().Byte(), jen.Error()).Custom(oneLine,
			jen.Return(u.rt("MarshalValue").Call(jen.Id("v"), jen.Id(name)))))
	u.add(d.GoName+".UnmarshalJSON", doc("UnmarshalJSON reads and validates v. The error is a *lexrt.InvalidError with every issue."),
		jen.Func().Params(jen.Id("v").Op("*").Id(d.GoName)).Id("UnmarshalJSON").Params(jen.Id("src").Index().Byte()).Error().Custom(oneLine,
			jen.Return(u.rt("UnmarshalValue").Call(jen.Id("src"), jen.Id("v"), jen.Lit("value"), jen.Id(name)))))
	u.add(name, doc(name+" deals with the value that v points to, for the Lex method of what has it."), jen.Func().Id(name).Params(u.fieldsParam(), jen.Id("v").Op("*").Id(d.GoName)).Custom(oneLine, u.value(t)))
}

// arrayOf is the array that a named one is.
func arrayOf(d *ir.Slice) *ir.Type { return &ir.Type{Kind: ir.Array, Schema: d.Schema, Elem: d.Elem} }

func (u *unit) recordConsts(s *ir.Struct) {
	name := s.Collection
	u.add(name, doc(name+" is the collection of "+s.GoName+" records, and their $type."), jen.Const().Id(name).Op("=").Lit(s.TypeName))
	key := s.KeyName
	u.add(key, doc(key+" says what record keys the collection has."), jen.Const().Id(key).Op("=").Lit(s.Record.Key))
}

func (u *unit) permissionSet(d *ir.PermissionSet) {
	u.add(d.GoName, doc(d.GoName+" is the permission set "+d.ID+".", d.Schema.Title, d.Schema.Detail, d.Schema.Description),
		jen.Const().Id(d.GoName).Op("=").Lit(d.ID))
	var lxm []jen.Code
	for _, p := range d.Schema.Permissions {
		for _, m := range p.LXM {
			lxm = append(lxm, jen.Lit(m))
		}
	}
	name := d.LXM
	u.add(name, doc(name+" lists the methods that the permission set "+d.ID+" allows."), jen.Var().Id(name).Op("=").Index().String().Values(lxm...))
}
