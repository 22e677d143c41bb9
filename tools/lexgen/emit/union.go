package emit

import (
	"strings"

	"github.com/dave/jennifer/jen"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/tools/lexgen/ir"
)

// jsonString is s as JSON text.
func jsonString(s string) string {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return `""`
	}
	return string(b)
}

const unknownVariant = "UnknownVariant"

func marker(u *ir.Union) string { return "is" + u.GoName }

func (u *unit) unionDecl(d *ir.Union) {
	var members []string
	for _, m := range d.Members {
		members = append(members, "*"+m.GoName)
	}
	list := strings.Join(members, ", ")
	var text string
	switch {
	case d.Closed:
		text = d.GoName + " is a closed union of " + list + "."
	case list == "":
		text = d.GoName + " is an open union of no known types: it holds *" + unknownVariant + "."
	default:
		text = d.GoName + " is an open union of " + list + ", and *" + unknownVariant + " for any other type."
	}
	u.add(d.GoName, doc(text, d.Doc), jen.Type().Id(d.GoName).Interface(jen.Id(marker(d)).Params()))
	if !d.Closed {
		u.add(unknownVariant+"."+marker(d), jen.Func().Params(jen.Op("*").Id(unknownVariant)).Id(marker(d)).Params().Block())
	}
	if d.Closed {
		u.planned = append(u.planned, "allowed"+d.GoName)
		u.file.Var().Id("allowed" + d.GoName).Op("=").Index().String().ValuesFunc(func(g *jen.Group) {
			for _, m := range d.Members {
				g.Lit(m.TypeName)
			}
		})
		u.file.Line()
	}
	u.unionCodec(d)
}

func (u *unit) unionCodec(d *ir.Union) {
	decode := jen.Id("sub").Op(":=").Id("d").Dot("Variant").Call().Line().
		Switch(jen.Id("sub").Dot("VariantType").Call()).BlockFunc(func(g *jen.Group) {
		g.Case(jen.Lit(""))
		for _, m := range d.Members {
			g.Case(jen.Lit(m.TypeName)).Block(
				jen.Id("m").Op(":=").New(jen.Id(m.GoName)),
				jen.Id("m").Dot("decodeLex").Call(jen.Id("sub")),
				jen.Op("*").Id("v").Op("=").Id("m"),
			)
		}
		if d.Closed {
			g.Default().Block(jen.Id("sub").Dot("NotOneOf").Call(jen.Id("allowed" + d.GoName)))
		} else {
			g.Default().Block(jen.Op("*").Id("v").Op("=").Op("&").Id(unknownVariant).Values(jen.Id("RawUnion").Op(":").Id("sub").Dot("UnknownVariant").Call()))
		}
	}).Line().Id("d").Dot("EndVariant").Call(jen.Id("sub"))
	// The value null stands for a nil union in what encoders write; validation reports it.
	body := func(each func(g *jen.Group, m string), nilCase *jen.Statement) *jen.Statement {
		id := jen.Id("m").Op(":=").Parens(jen.Op("*").Id("v")).Assert(jen.Type())
		if len(d.Members) == 0 && d.Closed {
			id = jen.Parens(jen.Op("*").Id("v")).Assert(jen.Type())
		}
		return jen.Switch(id).BlockFunc(func(g *jen.Group) {
			for _, m := range d.Members {
				g.Case(jen.Op("*").Id(m.GoName)).BlockFunc(func(g *jen.Group) { each(g, m.GoName) })
			}
			if !d.Closed {
				g.Case(jen.Op("*").Id(unknownVariant)).BlockFunc(func(g *jen.Group) { each(g, "") })
			}
			if nilCase != nil {
				g.Default().Block(nilCase)
			}
		})
	}
	encode := body(func(g *jen.Group, m string) {
		if m == "" {
			g.Return(jen.Id("m").Dot("AppendJSON").Call(jen.Id("b")))
			return
		}
		g.Return(jen.Id("m").Dot("appendTyped").Call(jen.Id("b")))
	}, nil).Line().Return(jen.Append(jen.Id("b"), jen.Lit("null").Op("...")))
	check := body(func(g *jen.Group, m string) {
		if m == "" {
			g.Add(u.rt("CheckUnknownVariant")).Call(jen.Id("c"), jen.Op("&").Id("m").Dot("RawUnion"))
			return
		}
		g.Id("m").Dot("validateLex").Call(jen.Id("c"))
	}, jen.Id("c").Dot("Absent").Call())
	u.add("decode"+d.GoName, jen.Func().Id("decode"+d.GoName).Params(jen.Id("v").Op("*").Id(d.GoName), jen.Id("d").Op("*").Add(u.rt("Decoder"))).Block(decode))
	u.add("append"+d.GoName, jen.Func().Id("append"+d.GoName).Params(jen.Id("v").Op("*").Id(d.GoName), jen.Id("b").Index().Byte()).Index().Byte().Block(encode))
	u.add("check"+d.GoName, jen.Func().Id("check"+d.GoName).Params(jen.Id("v").Op("*").Id(d.GoName), jen.Id("c").Op("*").Add(u.rt("Checker"))).Block(check))
}

// unionFile has the one type that stands for unknown members of all open unions.
func (e *emitter) unionFile() (File, error) {
	u := e.newUnit("union.go", nil)
	u.add(unknownVariant,
		doc(unknownVariant+" is a member of an open union whose type the lexicons do not name. It is written back as it was read."),
		jen.Type().Id(unknownVariant).Struct(u.rt("RawUnion")))
	return u.finish()
}
