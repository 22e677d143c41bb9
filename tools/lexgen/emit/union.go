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

// unionVar is the variable that describes a union.
func unionVar(u *ir.Union) string { return "union" + u.GoName }

func (u *unit) unionDecl(d *ir.Union) {
	u.add(d.GoName, doc(unionDoc(d), d.Doc), jen.Type().Id(d.GoName).Interface(jen.Id(marker(d)).Params()))
	if !d.Closed {
		u.add(unknownVariant+"."+marker(d), jen.Func().Params(jen.Op("*").Id(unknownVariant)).Id(marker(d)).Params().Custom(oneLine))
	}
	u.add(unionVar(d), jen.Var().Id(unionVar(d)).Op("=").Add(u.rt("Union")).Types(jen.Id(d.GoName)).CustomFunc(listed, func(g *jen.Group) {
		g.Id("Variants").Op(":").Index().Add(u.rt("Variant")).Types(jen.Id(d.GoName)).CustomFunc(listed, func(g *jen.Group) {
			for _, m := range d.Members {
				g.Values(jen.Id("Type").Op(":").Lit(m.TypeName), jen.Id("New").Op(":").Func().Params().Id(d.GoName).Custom(oneLine, jen.Return(jen.New(jen.Id(m.GoName)))))
			}
		})
		if !d.Closed {
			g.Id("Unknown").Op(":").Func().Params(jen.Id("u").Add(u.rt("RawUnion"))).Id(d.GoName).Custom(oneLine,
				jen.Return(jen.Op("&").Id(unknownVariant).Values(jen.Id("RawUnion").Op(":").Id("u"))))
		}
	}))
}

// listed writes a composite literal with a line for each element.
var listed = jen.Options{Open: "{", Close: "}", Separator: ",", Multi: true}

func unionDoc(d *ir.Union) string {
	var members []string
	for _, m := range d.Members {
		members = append(members, "*"+m.GoName)
	}
	list := strings.Join(members, ", ")
	switch {
	case d.Closed:
		return d.GoName + " is a closed union of " + list + "."
	case list == "":
		return d.GoName + " is an open union of no known types: it holds *" + unknownVariant + "."
	}
	return d.GoName + " is an open union of " + list + ", and *" + unknownVariant + " for any other type."
}

// unionFile has the one type that stands for unknown members of all open unions.
func (e *emitter) unionFile() (File, error) {
	u := e.newUnit("union.go", nil)
	u.add(unknownVariant,
		doc(unknownVariant+" is a member of an open union whose type the lexicons do not name. It is written back as it was read."),
		jen.Type().Id(unknownVariant).Struct(u.rt("RawUnion")))
	return u.finish()
}

// importsFile has the types that stand for other packages' in the unions of this one.
func (e *emitter) importsFile() (File, error) {
	u := e.newUnit("imports.go", nil)
	for _, s := range e.model.Wrappers {
		u.add(s.GoName, doc(s.GoName+" is "+s.TypeName+" as a member of the package's unions."),
			jen.Type().Id(s.GoName).Struct(e.id(s.Wraps.Import, s.Wraps.GoName)))
		u.codec(s)
		u.markers(s)
	}
	return u.finish()
}
