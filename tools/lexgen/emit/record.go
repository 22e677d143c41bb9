package emit

import (
	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
)

// recordsOf are the records of a model, in the order of their lexicons.
func recordsOf(m *ir.Model) []*ir.Struct {
	var all []*ir.Struct
	for _, l := range m.Lexicons {
		for _, d := range l.Decls {
			if s, ok := d.(*ir.Struct); ok && s.Record != nil {
				all = append(all, s)
			}
		}
	}
	return all
}

// recordsFile writes what finds the type of a record.
func (e *emitter) recordsFile(records []*ir.Struct) (File, error) {
	u := e.newUnit("records.go", nil)
	record := func() *jen.Statement { return u.rt("Record") }
	variants := make([]jen.Code, len(records))
	for i, s := range records {
		variants[i] = jen.Values(
			jen.Id("Type").Op(":").Id(s.Collection),
			jen.Id("New").Op(":").Func().Params().Add(record()).Block(jen.Return(jen.New(jen.Id(s.GoName)))),
		)
	}
	u.add("DecodeRecord", doc("DecodeRecord reads and validates a record of any of the package's collections: its $type says which. The error is a *lexrt.InvalidError with every issue."),
		jen.Func().Id("DecodeRecord").Params(jen.Id("src").Index().Byte()).Params(record(), jen.Error()).Block(
			jen.Return(u.rt("DecodeRecord").Call(jen.Id("src"), jen.Op("&").Id("records")))))
	u.add("records", jen.Var().Id("records").Op("=").Add(u.rt("Union")).Index(record()).Values(
		jen.Id("Variants").Op(":").Index().Add(u.rt("Variant")).Index(record()).Custom(jen.Options{Open: "{", Close: "}", Separator: ",", Multi: true}, variants...)))
	return u.finish()
}
