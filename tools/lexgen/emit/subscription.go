package emit

import (
	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/ir"
)

// stream writes the typed sender of a subscription.
func (u *unit) stream(m *ir.Method) {
	name := m.Stream
	u.add(name, doc(name+" sends the messages of "+m.NSID+". It is used by one goroutine at a time."),
		jen.Type().Id(name).Struct(jen.Id("out").Add(u.rt("Subscribed"))))
	u.add(m.NewStream, doc(m.NewStream+" makes a sender that writes to out."),
		jen.Func().Id(m.NewStream).Params(jen.Id("out").Add(u.rt("Subscribed"))).Op("*").Id(name).Block(
			jen.Return(jen.Op("&").Id(name).Values(jen.Id("out").Op(":").Id("out")))))
	u.add(name+".Send", doc("Send writes one message. A nil message is an error."),
		jen.Func().Params(jen.Id("s").Op("*").Id(name)).Id("Send").Params(jen.Id("message").Id(m.Message.GoName)).Error().Block(
			jen.Switch(jen.Id("m").Op(":=").Id("message").Assert(jen.Type())).BlockFunc(func(g *jen.Group) {
				for _, member := range m.Message.Members {
					g.Case(jen.Op("*").Id(member.GoName)).Block(jen.Return(jen.Id("s").Dot("out").Dot("Send").Call(jen.Lit(member.TypeName), jen.Id("m"))))
				}
				if !m.Message.Closed {
					g.Case(jen.Op("*").Id(unknownVariant)).Block(jen.Return(jen.Id("s").Dot("out").Dot("Send").Call(jen.Id("m").Dot("Type"), jen.Id("m"))))
				}
			}),
			jen.Return(u.rt("ErrNoMessage")),
		))
	u.add(name+".Raw", doc("Raw is what messages are written to, for those who send frames that they have encoded before."),
		jen.Func().Params(jen.Id("s").Op("*").Id(name)).Id("Raw").Params().Add(u.rt("Subscribed")).Block(jen.Return(jen.Id("s").Dot("out"))))
}

// subscribe is the endpoint of a subscription: it reads the parameters, and serves once the client
// is connected.
func (u *unit) subscribe(m *ir.Method) jen.Code {
	serve := jen.Func().Params(jen.Id("ctx").Qual(ctxPath, "Context"), jen.Id("out").Add(u.rt("Subscribed"))).Error()
	return jen.Func().Params(jen.Id("req").Op("*").Add(u.rt("Request"))).Params(jen.Add(serve), jen.Error()).BlockFunc(func(g *jen.Group) {
		args := []jen.Code{jen.Id("ctx"), jen.Id("req").Dot("Caller")}
		if m.Params != nil {
			g.Id("params").Op(":=").New(jen.Id(m.Params.GoName))
			g.If(jen.Err().Op(":=").Id("req").Dot("DecodeParams").Call(jen.Id("params")), jen.Err().Op("!=").Nil()).Block(
				jen.Return(jen.Nil(), jen.Err()))
			args = append(args, jen.Id("params"))
		}
		out := jen.Id("out")
		if m.Message != nil {
			out = jen.Id(m.NewStream).Call(jen.Id("out"))
		}
		g.Return(jen.Add(serve).Block(jen.Return(jen.Id("s").Dot(m.GoName).Call(append(args, out)...))), jen.Nil())
	})
}

// messageDecoder writes the function that reads a message of a subscription.
func (u *unit) messageDecoder(m *ir.Method) {
	union := u.id(m.Message.Import, m.Message.GoName)
	u.add(m.Decode, doc(m.Decode+" reads and validates a message of "+m.NSID+", of which typ is the full type and body the JSON form. Errors: *lexrt.InvalidError with every issue; lexrt.ErrUnknownMessage for a type that a closed union does not have."),
		jen.Func().Id(m.Decode).Params(jen.Id("typ").String(), jen.Id("body").Index().Byte()).Params(union, jen.Error()).Block(
			jen.Return(u.rt("UnmarshalMessage").Call(jen.Id("typ"), jen.Id("body"), jen.Op("&").Id(unionVar(m.Message))))))
}
