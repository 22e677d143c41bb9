package emit

import (
	"strconv"

	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// A value is an addressable expression of the type, or a pointer to it.
// ptr makes the pointer that functions take.
func ptr(v *jen.Statement, isPtr bool) *jen.Statement {
	if isPtr {
		return v.Clone()
	}
	return jen.Op("&").Add(v.Clone())
}

// decodeCall is the statement that decodes the next value into v.
func (u *unit) decodeCall(t *ir.Type, v *jen.Statement, isPtr bool) jen.Code {
	p := ptr(v, isPtr)
	switch t.Kind {
	case ir.StructKind:
		return v.Clone().Dot("decodeLex").Call(jen.Id("d"))
	case ir.UnionKind:
		return jen.Id("decode"+t.Union.GoName).Call(p, jen.Id("d"))
	case ir.SliceKind:
		return jen.Id("decode"+t.Slice.GoName).Call(p, jen.Id("d"))
	case ir.CID, ir.Unknown, ir.Raw:
		return u.rt("Decode"+helperName(t)).Call(jen.Id("d"), p)
	case ir.Array:
		return u.rt("DecodeArray").Call(jen.Id("d"), p, u.rule(t), u.itemFunc(t.Elem, "decode"))
	default:
		return u.rt("Decode"+helperName(t)).Call(jen.Id("d"), p, u.rule(t))
	}
}

func helperName(t *ir.Type) string {
	switch t.Kind {
	case ir.Bool:
		return "Bool"
	case ir.Int:
		return "Int"
	case ir.String:
		return "String"
	case ir.Bytes:
		return "Bytes"
	case ir.CID:
		return "CID"
	case ir.Blob:
		return "Blob"
	case ir.Unknown:
		return "Unknown"
	case ir.Raw:
		return "Raw"
	default:
		return "Array"
	}
}

// itemFunc is the function that an array helper calls for each item.
func (u *unit) itemFunc(t *ir.Type, what string) jen.Code {
	switch t.Kind {
	case ir.StructKind:
		method := map[string]string{"decode": "decodeLex", "append": "AppendJSON", "check": "validateLex"}[what]
		return jen.Parens(jen.Op("*").Id(t.Struct.GoName)).Dot(method)
	case ir.UnionKind:
		return jen.Id(what + t.Union.GoName)
	case ir.SliceKind:
		return jen.Id(what + t.Slice.GoName)
	default:
	}
	v := jen.Id("v").Op("*").Add(u.goType(t))
	switch what {
	case "decode":
		return jen.Func().Params(v, jen.Id("d").Op("*").Add(u.rt("Decoder"))).Block(u.decodeCall(t, jen.Id("v"), true))
	case "append":
		return jen.Func().Params(v, jen.Id("b").Index().Byte()).Index().Byte().Block(jen.Return(u.appendCall(t, jen.Id("v"), true)))
	}
	return jen.Func().Params(v, jen.Id("c").Op("*").Add(u.rt("Checker"))).Block(u.checkCall(t, jen.Id("v"), true))
}

// appendCall is the expression that appends v to b.
func (u *unit) appendCall(t *ir.Type, v *jen.Statement, isPtr bool) jen.Code {
	p := ptr(v, isPtr)
	switch t.Kind {
	case ir.StructKind:
		return v.Clone().Dot("AppendJSON").Call(jen.Id("b"))
	case ir.UnionKind:
		return jen.Id("append"+t.Union.GoName).Call(p, jen.Id("b"))
	case ir.SliceKind:
		return jen.Id("append"+t.Slice.GoName).Call(p, jen.Id("b"))
	case ir.Array:
		return u.rt("AppendArray").Call(jen.Id("b"), p, u.itemFunc(t.Elem, "append"))
	case ir.Unknown:
		return u.rt("AppendRaw").Call(jen.Id("b"), p)
	default:
		return u.rt("Append"+helperName(t)).Call(jen.Id("b"), p)
	}
}

// checkCall is the statement that validates v, or nil when every value is valid.
func (u *unit) checkCall(t *ir.Type, v *jen.Statement, isPtr bool) jen.Code {
	if !u.needsCheck(t) {
		return nil
	}
	p := ptr(v, isPtr)
	switch t.Kind {
	case ir.StructKind:
		return v.Clone().Dot("validateLex").Call(jen.Id("c"))
	case ir.UnionKind:
		return jen.Id("check"+t.Union.GoName).Call(p, jen.Id("c"))
	case ir.SliceKind:
		return jen.Id("check"+t.Slice.GoName).Call(p, jen.Id("c"))
	case ir.CID, ir.Unknown, ir.Raw:
		return u.rt("Check"+helperName(t)).Call(jen.Id("c"), p)
	case ir.Array:
		item := jen.Code(jen.Nil())
		if u.needsCheck(t.Elem) {
			item = u.itemFunc(t.Elem, "check")
		}
		return u.rt("CheckArray").Call(jen.Id("c"), p, u.rule(t), item)
	default:
		return u.rt("Check"+helperName(t)).Call(jen.Id("c"), p, u.rule(t))
	}
}

// needsCheck reports whether a Go value of the type can break the schema.
func (u *unit) needsCheck(t *ir.Type) bool {
	switch t.Kind {
	case ir.Bool, ir.Int, ir.Bytes, ir.String:
		_, v := u.ruleValues(t)
		return v != nil
	case ir.Array:
		_, v := u.ruleValues(t)
		return v != nil || u.needsCheck(t.Elem)
	default:
		return true
	}
}

// decode writes UnmarshalJSON and decodeLex.
func (u *unit) decode(s *ir.Struct) {
	maker := "NewDecoder"
	if s.Record != nil {
		maker = "NewRecordDecoder"
	}
	what := map[ir.Role]string{ir.RoleInput: "body", ir.RoleRecord: "record"}[s.Role]
	if what == "" {
		what = "value"
	}
	u.add(s.GoName+".UnmarshalJSON",
		doc("UnmarshalJSON reads and validates v. The error is a *lexrt.InvalidError with every issue."),
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("UnmarshalJSON").Params(jen.Id("src").Index().Byte()).Error().Block(
			jen.Op("*").Id("v").Op("=").Id(s.GoName).Values(),
			jen.Id("d").Op(":=").Add(u.rt(maker)).Call(jen.Id("src")),
			jen.Id("v").Dot("decodeLex").Call(jen.Id("d")),
			jen.Return(jen.Id("d").Dot("Done").Call(jen.Lit(what))),
		))
	required := requiredNames(s)
	if len(required) > 0 {
		u.planned = append(u.planned, "required"+s.GoName)
		u.file.Var().Id("required" + s.GoName).Op("=").Index().String().ValuesFunc(func(g *jen.Group) {
			for _, n := range required {
				g.Lit(n)
			}
		})
		u.file.Line()
	}
	u.add(s.GoName+".decodeLex",
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("decodeLex").Params(jen.Id("d").Op("*").Add(u.rt("Decoder"))).BlockFunc(func(g *jen.Group) {
			g.If(jen.Op("!").Id("d").Dot("Object").Call()).Block(jen.Return())
			for _, f := range s.Fields {
				u.setDefault(g, f)
			}
			u.memberLoop(g, s, required)
			for i := 0; i*64 < len(required); i++ {
				part := jen.Id("required" + s.GoName)
				if len(required) > 64 {
					part = part.Index(jen.Lit(i*64), jen.Lit(min(len(required), i*64+64)))
				}
				g.Id("d").Dot("Missing").Call(jen.Id(seenVar(i)), part)
			}
		}))
}

func seenVar(i int) string {
	if i == 0 {
		return "seen"
	}
	return "seen" + strconv.Itoa(i)
}

func requiredNames(s *ir.Struct) []string {
	var out []string
	if s.Record != nil {
		out = append(out, "$type")
	}
	for _, f := range s.Fields {
		if f.Required {
			out = append(out, f.Name)
		}
	}
	return out
}

func (u *unit) memberLoop(g *jen.Group, s *ir.Struct, required []string) {
	for i := 0; i*64 < len(required); i++ {
		g.Var().Id(seenVar(i)).Uint64()
	}
	bit := 0
	mark := func(g *jen.Group) {
		g.Id(seenVar(bit / 64)).Op("|=").Lit(1).Op("<<").Lit(bit % 64)
		bit++
	}
	g.For(jen.Id("d").Dot("Next").Call()).Block(
		jen.Switch(jen.String().Parens(jen.Id("d").Dot("Name").Call())).BlockFunc(func(g *jen.Group) {
			if s.Record != nil {
				g.Case(jen.Lit("$type")).BlockFunc(func(g *jen.Group) {
					mark(g)
					g.Id("d").Dot("Type").Call(jen.Lit(s.TypeName))
				})
			}
			for _, f := range s.Fields {
				g.Case(jen.Lit(f.Name)).BlockFunc(func(g *jen.Group) {
					if f.Required {
						mark(g)
					}
					u.decodeField(g, f)
				})
			}
			g.Default().Block(jen.Id("d").Dot("Skip").Call())
		}),
	)
}

func field(f *ir.Field) *jen.Statement { return jen.Id("v").Dot(f.GoName) }

// setDefault fills a field before the members are read.
func (u *unit) setDefault(g *jen.Group, f *ir.Field) {
	if f.Required {
		return
	}
	if lit := defaultLit(f.Type); lit != nil {
		if f.Mode == ir.OptNull {
			g.Op("*").Add(field(f)).Dot("Set").Call().Op("=").Add(lit)
			return
		}
		g.Add(field(f)).Op("=").Add(lit)
	}
}

func defaultLit(t *ir.Type) *jen.Statement {
	switch s := t.Schema.(type) {
	case *lexicon.Boolean:
		if s.Default != nil {
			return jen.Lit(*s.Default)
		}
	case *lexicon.Integer:
		if s.Default != nil {
			return jen.Op(strconv.FormatInt(*s.Default, 10))
		}
	case *lexicon.String:
		if s.Default != nil {
			return jen.Lit(*s.Default)
		}
	}
	return nil
}

func (u *unit) decodeField(g *jen.Group, f *ir.Field) {
	v := field(f)
	var set jen.Code
	switch f.Mode {
	case ir.Pointer:
		set = u.decodeCall(f.Type, u.rt("New").Call(jen.Op("&").Add(v.Clone())), true)
	case ir.OptNull:
		set = u.decodeCall(f.Type, v.Clone().Dot("Set").Call(), true)
	default:
		set = u.decodeCall(f.Type, v, false)
	}
	switch {
	case f.Mode == ir.OptNull:
		g.If(jen.Id("d").Dot("Nullable").Call()).Block(v.Clone().Dot("SetNull").Call()).Else().Block(set)
	case f.Nullable:
		g.If(jen.Op("!").Id("d").Dot("Nullable").Call()).Block(set)
	case !f.Required:
		g.If(jen.Op("!").Id("d").Dot("Null").Call()).Block(set)
	default:
		g.Add(set)
	}
}

// encode writes MarshalJSON and AppendJSON, and appendTyped for members of unions.
func (u *unit) encode(s *ir.Struct) {
	u.add(s.GoName+".MarshalJSON", doc("MarshalJSON is AppendJSON for package encoding/json."),
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("MarshalJSON").Params().Params(jen.Index().Byte(), jen.Error()).Block(
			jen.Return(jen.Id("v").Dot("AppendJSON").Call(jen.Nil()), jen.Nil()),
		))
	recv := jen.Id("v").Op("*").Id(s.GoName)
	typed := `{"$type":` + jsonString(s.TypeName)
	appendDoc := doc("AppendJSON appends the JSON of v to b and returns the extended slice.")
	switch {
	case s.Record != nil:
		u.add(s.GoName+".AppendJSON", appendDoc, jen.Func().Params(recv).Id("AppendJSON").Params(jen.Id("b").Index().Byte()).Index().Byte().BlockFunc(func(g *jen.Group) {
			g.Id("b").Op("=").Append(jen.Id("b"), jen.Lit(typed).Op("..."))
			u.appendFields(g, s, true)
		}))
		if len(s.Unions) > 0 {
			u.add(s.GoName+".appendTyped", jen.Func().Params(recv.Clone()).Id("appendTyped").Params(jen.Id("b").Index().Byte()).Index().Byte().Block(
				jen.Return(jen.Id("v").Dot("AppendJSON").Call(jen.Id("b")))))
		}
	case len(s.Unions) > 0:
		u.add(s.GoName+".AppendJSON", appendDoc, jen.Func().Params(recv).Id("AppendJSON").Params(jen.Id("b").Index().Byte()).Index().Byte().Block(
			jen.Return(jen.Id("v").Dot("appendLex").Call(jen.Append(jen.Id("b"), jen.LitRune('{'))))))
		u.add(s.GoName+".appendTyped", jen.Func().Params(recv.Clone()).Id("appendTyped").Params(jen.Id("b").Index().Byte()).Index().Byte().Block(
			jen.Return(jen.Id("v").Dot("appendLex").Call(jen.Append(jen.Id("b"), jen.Lit(typed).Op("..."))))))
		u.add(s.GoName+".appendLex", jen.Func().Params(recv.Clone()).Id("appendLex").Params(jen.Id("b").Index().Byte()).Index().Byte().BlockFunc(func(g *jen.Group) {
			u.appendFields(g, s, false)
		}))
	default:
		u.add(s.GoName+".AppendJSON", appendDoc, jen.Func().Params(recv).Id("AppendJSON").Params(jen.Id("b").Index().Byte()).Index().Byte().BlockFunc(func(g *jen.Group) {
			g.Id("b").Op("=").Append(jen.Id("b"), jen.LitRune('{'))
			u.appendFields(g, s, false)
		}))
	}
}

// appendFields writes the members after the opening brace. comma is true when
// one member is certainly there already.
func (u *unit) appendFields(g *jen.Group, s *ir.Struct, comma bool) {
	for _, f := range s.Fields {
		always := f.Required || f.Mode == ir.Plain
		name := jsonString(f.Name) + ":"
		write := func(g *jen.Group) {
			if comma {
				g.Id("b").Op("=").Append(jen.Id("b"), jen.Lit(","+name).Op("..."))
				return
			}
			g.Id("b").Op("=").Add(u.rt("AppendName")).Call(jen.Id("b"), jen.Lit(name))
		}
		u.appendField(g, f, always, write)
		comma = comma || always
	}
	g.Return(jen.Append(jen.Id("b"), jen.LitRune('}')))
}

func (u *unit) appendField(g *jen.Group, f *ir.Field, always bool, name func(*jen.Group)) {
	v := field(f)
	set := func(v *jen.Statement, isPtr bool) jen.Code {
		return jen.Id("b").Op("=").Add(u.appendCall(f.Type, v, isPtr))
	}
	null := jen.Id("b").Op("=").Append(jen.Id("b"), jen.Lit("null").Op("..."))
	switch {
	case f.Mode == ir.OptNull:
		g.If(jen.Op("!").Add(v.Clone()).Dot("IsAbsent").Call()).BlockFunc(func(g *jen.Group) {
			name(g)
			g.If(jen.Id("p").Op(":=").Add(v.Clone()).Dot("Get").Call(), jen.Id("p").Op("!=").Nil()).Block(set(jen.Id("p"), true)).Else().Block(null)
		})
	case f.Mode == ir.Plain:
		name(g)
		if lit := constLit(f.Type); lit != "" && f.Required {
			g.Id("b").Op("=").Append(jen.Id("b"), jen.Lit(lit).Op("..."))
			return
		}
		g.Add(set(v, false))
	case !always:
		g.If(v.Clone().Op("!=").Nil()).BlockFunc(func(g *jen.Group) {
			name(g)
			g.Add(set(v, f.Mode == ir.Pointer))
		})
	case f.Nullable || f.Mode == ir.Pointer:
		name(g)
		g.If(v.Clone().Op("!=").Nil()).Block(set(v, f.Mode == ir.Pointer)).Else().Block(null)
	default:
		name(g)
		g.Add(set(v, false))
	}
}

// constLit is the JSON of a const, "" when there is none.
func constLit(t *ir.Type) string {
	switch s := t.Schema.(type) {
	case *lexicon.Boolean:
		if s.Const != nil {
			return strconv.FormatBool(*s.Const)
		}
	case *lexicon.Integer:
		if s.Const != nil {
			return strconv.FormatInt(*s.Const, 10)
		}
	case *lexicon.String:
		if s.Const != nil {
			return jsonString(*s.Const)
		}
	}
	return ""
}

// validate writes Validate and validateLex.
func (u *unit) validate(s *ir.Struct) {
	u.add(s.GoName+".Validate", doc("Validate checks v against its schema. The error is a *lexrt.InvalidError with every issue."),
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("Validate").Params().Error().Block(
			jen.Var().Id("c").Add(u.rt("Checker")),
			jen.Id("v").Dot("validateLex").Call(jen.Op("&").Id("c")),
			jen.Return(jen.Id("c").Dot("Done").Call()),
		))
	u.add(s.GoName+".validateLex",
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("validateLex").Params(jen.Id("c").Op("*").Add(u.rt("Checker"))).BlockFunc(func(g *jen.Group) {
			for _, f := range s.Fields {
				u.validateField(g, f)
			}
		}))
}

func (u *unit) validateField(g *jen.Group, f *ir.Field) {
	if f.Mode == ir.Plain && f.Required && constLit(f.Type) != "" {
		return // the encoder writes the constant whatever the field holds
	}
	v := field(f)
	absent := f.Required && !f.Nullable && (f.Mode == ir.Pointer || f.Mode == ir.Nil && f.Type.Kind == ir.UnionKind)
	if !u.needsCheck(f.Type) && !absent {
		return
	}
	g.Id("c").Dot("Push").Call(jen.Lit(f.Name))
	defer func() { g.Id("c").Dot("Pop").Call() }()
	switch {
	case f.Mode == ir.OptNull:
		g.If(jen.Id("p").Op(":=").Add(v.Clone()).Dot("Get").Call(), jen.Id("p").Op("!=").Nil()).Block(u.checkCall(f.Type, jen.Id("p"), true))
	case f.Mode == ir.Pointer && absent:
		g.If(v.Clone().Op("!=").Nil()).Block(u.checkCall(f.Type, v, true)).Else().Block(jen.Id("c").Dot("Absent").Call())
	case f.Mode == ir.Pointer:
		g.If(v.Clone().Op("!=").Nil()).Block(u.checkCall(f.Type, v, true))
	case f.Mode == ir.Nil && (f.Nullable || !f.Required):
		g.If(v.Clone().Op("!=").Nil()).Block(u.checkCall(f.Type, v, false))
	default:
		g.Add(u.checkCall(f.Type, v, false))
	}
}
