package emit

import (
	"fmt"
	"strconv"

	"github.com/dave/jennifer/jen"
	"mls-server/lexrt"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// rule returns the variable that holds the constraints of t, or nil.
func (u *unit) rule(t *ir.Type) jen.Code {
	name, values := u.ruleValues(t)
	if values == nil {
		return jen.Nil()
	}
	key := ruleKey(t)
	if v, ok := u.rules[key]; ok {
		return jen.Op("&").Id(v)
	}
	id := "rule" + u.lexicon.Ident + "_" + strconv.Itoa(len(u.rules))
	u.rules[key] = id
	u.planned = append(u.planned, id)
	u.ruleSeq = append(u.ruleSeq, jen.Var().Id(id).Op("=").Add(u.rt(name)).Values(values), jen.Line())
	return jen.Op("&").Id(id)
}

// ruleKey is the same for equal rules.
func ruleKey(t *ir.Type) string {
	opt := func(v *int64) string {
		if v == nil {
			return "-"
		}
		return strconv.FormatInt(*v, 10)
	}
	switch s := t.Schema.(type) {
	case *lexicon.String:
		return fmt.Sprintf("s %d %s %s %s %s %q %s", s.Format, opt(s.MinLength), opt(s.MaxLength), opt(s.MinGraphemes), opt(s.MaxGraphemes), s.Enum, constLit(t))
	case *lexicon.Integer:
		return fmt.Sprintf("i %s %s %d %s", opt(s.Minimum), opt(s.Maximum), s.Enum, constLit(t))
	case *lexicon.Bytes:
		return fmt.Sprintf("y %s %s", opt(s.MinLength), opt(s.MaxLength))
	case *lexicon.Array:
		return fmt.Sprintf("a %s %s", opt(s.MinLength), opt(s.MaxLength))
	case *lexicon.Blob:
		return fmt.Sprintf("b %q %s", s.Accept, opt(s.MaxSize))
	default:
		return "c " + constLit(t)
	}
}

func (e *emitter) ruleValues(t *ir.Type) (string, jen.Dict) {
	d := jen.Dict{}
	lim := func(lowName, highName string, low, high *int64) {
		if low != nil && *low != 0 {
			d[jen.Id(lowName)] = jen.Lit(int(*low))
		}
		if high != nil {
			n := int(*high)
			if n == 0 {
				n = lexrt.Zero
			}
			d[jen.Id(highName)] = jen.Lit(n)
		}
	}
	name := ""
	switch s := t.Schema.(type) {
	case *lexicon.String:
		name = "StringRule"
		if s.Format != lexrt.FormatNone {
			d[jen.Id("Format")] = e.rt(formatConst(s.Format))
		}
		lim("MinLen", "MaxLen", s.MinLength, s.MaxLength)
		lim("MinGraphemes", "MaxGraphemes", s.MinGraphemes, s.MaxGraphemes)
		enum := s.Enum
		if s.Const != nil {
			enum = []string{*s.Const}
		}
		if len(enum) > 0 {
			d[jen.Id("Enum")] = jen.Index().String().ValuesFunc(func(g *jen.Group) {
				for _, v := range enum {
					g.Lit(v)
				}
			})
		}
	case *lexicon.Integer:
		name = "IntRule"
		enum := s.Enum
		if s.Const != nil {
			enum = []int64{*s.Const}
		}
		if s.Minimum == nil && s.Maximum == nil && len(enum) == 0 {
			return "", nil
		}
		d[jen.Id("Min")] = e.bound(s.Minimum, "MinInt")
		d[jen.Id("Max")] = e.bound(s.Maximum, "MaxInt")
		if len(enum) > 0 {
			d[jen.Id("Enum")] = jen.Index().Int64().ValuesFunc(func(g *jen.Group) {
				for _, v := range enum {
					g.Op(strconv.FormatInt(v, 10))
				}
			})
		}
	case *lexicon.Boolean:
		name = "BoolRule"
		if s.Const != nil {
			d[jen.Id("Const")] = jen.Lit(*s.Const)
		}
	case *lexicon.Bytes:
		name = "BytesRule"
		lim("MinLen", "MaxLen", s.MinLength, s.MaxLength)
	case *lexicon.Array:
		name = "ArrayRule"
		lim("MinLen", "MaxLen", s.MinLength, s.MaxLength)
	case *lexicon.Blob:
		name = "BlobRule"
		if len(s.Accept) > 0 {
			d[jen.Id("Accept")] = jen.Index().String().ValuesFunc(func(g *jen.Group) {
				for _, v := range s.Accept {
					g.Lit(v)
				}
			})
		}
		if s.MaxSize != nil {
			n := *s.MaxSize
			if n == 0 {
				n = lexrt.Zero
			}
			d[jen.Id("MaxSize")] = jen.Op(strconv.FormatInt(n, 10))
		}
	}
	if len(d) == 0 {
		return "", nil
	}
	return name, d
}

func (e *emitter) bound(v *int64, none string) jen.Code {
	if v == nil {
		return e.rt(none)
	}
	return jen.Op(strconv.FormatInt(*v, 10))
}

func formatConst(f lexrt.Format) string {
	switch f {
	case lexrt.FormatATIdentifier:
		return "FormatATIdentifier"
	case lexrt.FormatCID:
		return "FormatCID"
	default:
		return "Format" + formatTypes[f]
	}
}
