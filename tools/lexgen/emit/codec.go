package emit

import (
	"strconv"

	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// oneLine writes the body of a function on the line of its head.
var oneLine = jen.Options{Open: "{", Close: "}", Separator: ";"}

// lex writes the Lex method, the one list of a struct's members.
func (u *unit) lex(s *ir.Struct) {
	u.add(s.GoName+".Lex", doc("Lex names the members of v."),
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("Lex").Params(u.fieldsParam()).BlockFunc(func(g *jen.Group) {
			if s.Record != nil {
				g.Id("f").Dot("Type").Call(jen.Lit(s.TypeName))
			}
			for _, f := range s.Fields {
				u.member(g, f)
			}
			if s.Extra != "" {
				g.Id("f").Dot("Extra").Call(jen.Op("&").Id("v").Dot(s.Extra))
			}
		}))
}

func (e *emitter) fieldsParam() *jen.Statement { return jen.Id("f").Op("*").Add(e.rt("Fields")) }

// codec writes the methods of a struct that call the runtime.
func (u *unit) codec(s *ir.Struct) {
	unmarshal := u.rt("Unmarshal").Call(jen.Id("src"), jen.Id("v"), jen.Lit("value"))
	switch {
	case s.Record != nil:
		unmarshal = u.rt("UnmarshalRecord").Call(jen.Id("src"), jen.Id("v"))
	case s.Role == ir.RoleInput:
		unmarshal = u.rt("UnmarshalInput").Call(jen.Id("src"), jen.Id("v"))
	}
	u.method(s, true, "UnmarshalJSON", "UnmarshalJSON reads and validates v. The error is a *lexrt.InvalidError with every issue.",
		jen.Params(jen.Id("src").Index().Byte()).Error(), unmarshal)
	text := "MarshalJSON is AppendJSON for package encoding/json."
	if len(s.Unions) > 0 && s.Record == nil {
		text = "MarshalJSON is AppendJSON for package encoding/json, with the $type that v has in a union."
	}
	u.marshal(s, text)
	u.method(s, true, "AppendJSON", "AppendJSON appends the JSON of v to b and returns the extended slice.",
		jen.Params(jen.Id("b").Index().Byte()).Index().Byte(), u.rt("Append").Call(jen.Id("b"), jen.Id("v")))
	u.validate(s)
	if len(s.Unions) > 0 {
		u.method(s, true, "LexType", "LexType is the $type that v has in a union.", jen.Params().String(), jen.Lit(s.TypeName))
	}
}

// marshal writes MarshalJSON, which works on values as on pointers.
func (u *unit) marshal(s *ir.Struct, text string) {
	u.method(s, false, "MarshalJSON", text, jen.Params().Params(jen.Index().Byte(), jen.Error()), u.rt("Marshal").Call(jen.Op("&").Id("v")))
}

func (u *unit) validate(s *ir.Struct) {
	u.method(s, true, "Validate", "Validate checks v against its schema. The error is a *lexrt.InvalidError with every issue.",
		jen.Params().Error(), u.rt("Validate").Call(jen.Id("v")))
}

// method writes a method of one expression.
func (u *unit) method(s *ir.Struct, pointer bool, name, text string, signature, result *jen.Statement) {
	receiver := jen.Id("v").Id(s.GoName)
	if pointer {
		receiver = jen.Id("v").Op("*").Id(s.GoName)
	}
	u.add(s.GoName+"."+name, doc(text), jen.Func().Params(receiver).Id(name).Add(signature).Custom(oneLine, jen.Return(result)))
}

// params writes the methods of a struct of parameters.
func (u *unit) params(s *ir.Struct) {
	values := jen.Qual("net/url", "Values")
	u.method(s, true, "DecodeQuery", "DecodeQuery reads and validates v from a parsed query string. The error is a *lexrt.InvalidError with every issue.",
		jen.Params(jen.Id("q").Add(values)).Error(), u.rt("DecodeQuery").Call(jen.Id("q"), jen.Id("v")))
	u.method(s, true, "EncodeQuery", "EncodeQuery returns v as the values of a query string.",
		jen.Params().Add(values.Clone()), u.rt("EncodeQuery").Call(jen.Id("v")))
	u.marshal(s, "MarshalJSON returns v as a JSON object, for logs.")
	u.validate(s)
}

// member writes the line of a field in Lex.
func (u *unit) member(g *jen.Group, f *ir.Field) {
	quoted := jsonString(f.Name)
	name, field := jen.Lit(quoted[1:len(quoted)-1]), jen.Op("&").Id("v").Dot(f.GoName)
	if lit := defaultLit(f.Type); lit != nil && !f.Required {
		call := "Default"
		if f.Mode == ir.OptNull {
			call = "DefaultOptNull"
		}
		g.Add(u.rt(call)).Call(jen.Id("f"), field, lit)
	}
	if f.Mode == ir.OptNull {
		g.Add(u.rt("Maybe")).Call(jen.Id("f"), name, field, u.valueFunc(f.Type))
		return
	}
	p := u.presence(f)
	function := u.memberFunc(f.Type)
	if f.Mode == ir.Pointer {
		function += "Ptr"
	}
	g.Add(u.rt(function)).CallFunc(func(g *jen.Group) {
		g.Id("f")
		g.Add(name)
		g.Add(field)
		g.Add(p)
		switch f.Type.Kind {
		case ir.StructKind, ir.CID, ir.Unknown, ir.Raw:
		case ir.UnionKind:
			g.Op("&").Id(unionVar(f.Type.Union))
		case ir.SliceKind:
			g.Add(u.valueFunc(f.Type))
		case ir.Array:
			g.Add(u.rule(f.Type))
			u.itemArgs(g, f.Type.Elem)
		default:
			g.Add(u.rule(f.Type))
		}
	})
}

func (u *unit) presence(f *ir.Field) jen.Code {
	switch {
	case f.Required && f.Nullable:
		return u.rt("RequiredNullable")
	case f.Required && f.Mode == ir.Plain && isConst(f.Type):
		return u.rt("Required").Op("|").Add(u.rt("Constant"))
	case f.Required:
		return u.rt("Required")
	}
	return u.rt("Optional")
}

// memberFunc is the function of the runtime for a member of the type.
func (u *unit) memberFunc(t *ir.Type) string {
	switch t.Kind {
	case ir.StructKind:
		return "Struct"
	case ir.UnionKind:
		return "UnionMember"
	case ir.SliceKind:
		return "List"
	case ir.CID:
		return "CIDLink"
	case ir.Blob:
		return "BlobRef"
	case ir.Array:
		switch t.Elem.Kind {
		case ir.StructKind:
			return "Structs"
		case ir.UnionKind:
			return "Unions"
		case ir.String:
			return "Strings"
		default:
			return "Array"
		}
	default:
		return helperName(t)
	}
}

// itemArgs are what memberFunc needs to know of an array's items.
func (u *unit) itemArgs(g *jen.Group, elem *ir.Type) {
	switch elem.Kind {
	case ir.StructKind:
	case ir.UnionKind:
		g.Op("&").Id(unionVar(elem.Union))
	case ir.String:
		g.Add(u.rule(elem))
	default:
		g.Add(u.valueFunc(elem))
	}
}

// valueFunc is a function that deals with a value of the type.
func (u *unit) valueFunc(t *ir.Type) jen.Code {
	switch t.Kind {
	case ir.SliceKind:
		return u.id(t.Slice.Import, t.Slice.Func)
	case ir.CID:
		return u.rt("CIDLinkValue")
	case ir.Unknown, ir.Raw:
		return u.rt(helperName(t) + "Value")
	default:
		return jen.Func().Params(u.fieldsParam(), jen.Id("v").Op("*").Add(u.goType(t))).Custom(oneLine, u.value(t))
	}
}

// value is the call that deals with the value that v points to.
func (u *unit) value(t *ir.Type) jen.Code {
	f, v := jen.Id("f"), jen.Id("v")
	switch t.Kind {
	case ir.StructKind:
		return u.rt("StructValue").Call(f, v)
	case ir.UnionKind:
		return u.rt("UnionValue").Call(f, v, jen.Op("&").Id(unionVar(t.Union)))
	case ir.SliceKind:
		return u.id(t.Slice.Import, t.Slice.Func).Call(f, v)
	case ir.CID:
		return u.rt("CIDLinkValue").Call(f, v)
	case ir.Unknown, ir.Raw:
		return u.rt(helperName(t)+"Value").Call(f, v)
	case ir.Array:
		return u.rt("ArrayValue").Call(f, v, u.rule(t), u.valueFunc(t.Elem))
	default:
		return u.rt(helperName(t)+"Value").Call(f, v, u.rule(t))
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

func isConst(t *ir.Type) bool { return constText(t) != "" }

// constText is the JSON of a const, "" when there is none.
func constText(t *ir.Type) string {
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
