package emit

import (
	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
)

// paramsCodec writes DecodeQuery and EncodeQuery.
func (u *unit) paramsCodec(s *ir.Struct) {
	u.add(s.GoName+".DecodeQuery",
		doc("DecodeQuery reads and validates v from a parsed query string. The error is a *lexrt.InvalidError with every issue."),
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("DecodeQuery").Params(jen.Id("q").Qual("net/url", "Values")).Error().BlockFunc(func(g *jen.Group) {
			g.Op("*").Id("v").Op("=").Id(s.GoName).Values()
			g.Id("d").Op(":=").Add(u.rt("NewParamDecoder")).Call(jen.Id("q"))
			for _, f := range s.Fields {
				u.setDefault(g, f)
				u.decodeParam(g, f)
			}
			g.Return(jen.Id("d").Dot("Done").Call())
		}))
	u.add(s.GoName+".EncodeQuery",
		doc("EncodeQuery returns v as the values of a query string."),
		jen.Func().Params(jen.Id("v").Op("*").Id(s.GoName)).Id("EncodeQuery").Params().Qual("net/url", "Values").BlockFunc(func(g *jen.Group) {
			g.Id("q").Op(":=").Qual("net/url", "Values").Values()
			for _, f := range s.Fields {
				u.encodeParam(g, f)
			}
			g.Return(jen.Id("q"))
		}))
}

func (u *unit) decodeParam(g *jen.Group, f *ir.Field) {
	d := jen.Op("&").Id("d")
	if f.Type.Kind == ir.Array {
		item := jen.Func().Params(jen.Id("d").Op("*").Add(u.rt("ParamDecoder")), jen.Id("s").String(), jen.Id("v").Op("*").Add(u.goType(f.Type.Elem))).Block(
			u.rt("Param"+helperName(f.Type.Elem)).Call(jen.Id("d"), jen.Id("s"), jen.Id("v"), u.rule(f.Type.Elem)))
		g.Add(u.rt("ParamArray")).Call(d, jen.Lit(f.Name), jen.Lit(f.Required), jen.Op("&").Add(field(f)), u.rule(f.Type), item)
		return
	}
	target := jen.Op("&").Add(field(f))
	if f.Mode == ir.Pointer {
		target = u.rt("New").Call(target)
	}
	g.If(jen.List(jen.Id("s"), jen.Id("ok")).Op(":=").Id("d").Dot("One").Call(jen.Lit(f.Name), jen.Lit(f.Required)), jen.Id("ok")).Block(
		u.rt("Param"+helperName(f.Type)).Call(d, jen.Id("s"), target, u.rule(f.Type)))
}

func (u *unit) encodeParam(g *jen.Group, f *ir.Field) {
	name := jen.Lit(f.Name)
	switch {
	case f.Type.Kind == ir.Array:
		g.Add(u.rt("AddArray")).Call(jen.Id("q"), name, jen.Op("&").Add(field(f)), u.rt("Add"+helperName(f.Type.Elem)).Types(u.goType(f.Type.Elem)))
	case f.Mode == ir.Pointer:
		g.If(field(f).Op("!=").Nil()).Block(u.rt("Add"+helperName(f.Type)).Call(jen.Id("q"), name, field(f)))
	default:
		g.Add(u.rt("Add"+helperName(f.Type))).Call(jen.Id("q"), name, jen.Op("&").Add(field(f)))
	}
}
