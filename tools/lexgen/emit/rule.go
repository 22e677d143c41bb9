package emit

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dave/jennifer/jen"
	"mls-server/lexrt"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// rule returns the variable that holds the constraints of t, or nil.
func (u *unit) rule(t *ir.Type) jen.Code {
	if t.Enum != nil && !u.foreign(t.Enum.Import) {
		return jen.Op("&").Id(enumRule(t.Enum))
	}
	name, values := u.ruleValues(t.Schema)
	if values == nil {
		return jen.Nil()
	}
	key := ruleKey(t)
	if v, ok := u.rules[key]; ok {
		return jen.Op("&").Id(v)
	}
	id := u.ruleName(t)
	u.rules[key] = id
	u.planned = append(u.planned, id)
	u.ruleSeq = append(u.ruleSeq, jen.Id(id).Op("=").Add(u.rt(name)).Values(values...))
	return jen.Op("&").Id(id)
}

// enumRule is the variable with the constraints of a named set of values. It stands
// beside the type.
func enumRule(d *ir.Enum) string { return "enum" + d.GoName }

// ruleName tells what the rule asks: ruleDefs_Max128. The part behind the
// underscore has no other one, so that names of two lexicons differ.
func (u *unit) ruleName(t *ir.Type) string {
	var b strings.Builder
	part := func(word string, v *int64) {
		if v != nil {
			b.WriteString(word)
			b.WriteString(strings.Replace(strconv.FormatInt(*v, 10), "-", "Minus", 1))
		}
	}
	switch s := t.Schema.(type) {
	case *lexicon.String:
		if s.Format != lexrt.FormatNone {
			b.WriteString(strings.TrimPrefix(formatConst(s.Format), "Format"))
		}
		part("Min", s.MinLength)
		part("Max", s.MaxLength)
		part("MinChars", s.MinGraphemes)
		part("MaxChars", s.MaxGraphemes)
	case *lexicon.Integer:
		part("From", s.Minimum)
		part("To", s.Maximum)
	case *lexicon.Bytes:
		b.WriteString("Bytes")
		part("Min", s.MinLength)
		part("Max", s.MaxLength)
	case *lexicon.Array:
		b.WriteString("Items")
		part("Min", s.MinLength)
		part("Max", s.MaxLength)
	case *lexicon.Blob:
		b.WriteString("Blob")
		part("Max", s.MaxSize)
	}
	if isConst(t) {
		b.WriteString("Const")
	}
	name := "rule" + u.lexicon.Ident + "_" + b.String()
	taken := func(name string) bool {
		for _, v := range u.rules {
			if v == name {
				return true
			}
		}
		return false
	}
	for n := 2; taken(name); n++ {
		name = "rule" + u.lexicon.Ident + "_" + b.String() + "No" + strconv.Itoa(n)
	}
	return name
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
		if s.OddDefault {
			return fmt.Sprintf("%p", s) // the rule is its own
		}
		return fmt.Sprintf("s %d %s %s %s %s %s", s.Format, opt(s.MinLength), opt(s.MaxLength), opt(s.MinGraphemes), opt(s.MaxGraphemes), constText(t))
	case *lexicon.Integer:
		if s.OddDefault {
			return fmt.Sprintf("%p", s)
		}
		return fmt.Sprintf("i %s %s %s", opt(s.Minimum), opt(s.Maximum), constText(t))
	case *lexicon.Bytes:
		return fmt.Sprintf("y %s %s", opt(s.MinLength), opt(s.MaxLength))
	case *lexicon.Array:
		return fmt.Sprintf("a %s %s", opt(s.MinLength), opt(s.MaxLength))
	case *lexicon.Blob:
		return fmt.Sprintf("b %q %s", s.Accept, opt(s.MaxSize))
	default:
		return "c " + constText(t)
	}
}

// values are the elements of a composite literal, in their order.
type values []jen.Code

func (v *values) add(name string, value jen.Code) {
	*v = append(*v, jen.Id(name).Op(":").Add(value))
}

func (v *values) limits(lowName, highName string, low, high *int64) {
	if low != nil && *low != 0 {
		v.add(lowName, jen.Lit(int(*low)))
	}
	if high != nil {
		n := int(*high)
		if n == 0 {
			n = lexrt.Zero
		}
		v.add(highName, jen.Lit(n))
	}
}

func (v *values) texts(name string, list []string) {
	if len(list) == 0 {
		return
	}
	v.add(name, jen.Index().String().ValuesFunc(func(g *jen.Group) {
		for _, s := range list {
			g.Lit(s)
		}
	}))
}

func (v *values) numbers(name string, list []int64) {
	if len(list) == 0 {
		return
	}
	v.add(name, jen.Index().Int64().ValuesFunc(func(g *jen.Group) {
		for _, n := range list {
			g.Op(strconv.FormatInt(n, 10))
		}
	}))
}

// ruleValues are the type and the elements of a schema's rule, none when it allows all.
func (e *emitter) ruleValues(schema lexicon.Schema) (string, values) {
	var v values
	switch s := schema.(type) {
	case *lexicon.String:
		if s.Format != lexrt.FormatNone {
			v.add("Format", e.rt(formatConst(s.Format)))
		}
		v.limits("MinLen", "MaxLen", s.MinLength, s.MaxLength)
		v.limits("MinGraphemes", "MaxGraphemes", s.MinGraphemes, s.MaxGraphemes)
		if s.Const != nil {
			v.texts("Enum", []string{*s.Const})
		} else {
			v.texts("Enum", s.Enum)
		}
		v.texts("Known", s.KnownValues)
		if s.OddDefault {
			v.texts("Also", []string{*s.Default})
		}
		return "StringRule", v
	case *lexicon.Integer:
		return "IntRule", e.intValues(s)
	case *lexicon.Boolean:
		if s.Const != nil {
			v.add("Const", jen.Lit(*s.Const))
		}
		return "BoolRule", v
	case *lexicon.Bytes:
		v.limits("MinLen", "MaxLen", s.MinLength, s.MaxLength)
		return "BytesRule", v
	case *lexicon.Array:
		v.limits("MinLen", "MaxLen", s.MinLength, s.MaxLength)
		return "ArrayRule", v
	case *lexicon.Blob:
		v.texts("Accept", s.Accept)
		if s.MaxSize != nil {
			n := *s.MaxSize
			if n == 0 {
				n = lexrt.Zero
			}
			v.add("MaxSize", jen.Op(strconv.FormatInt(n, 10)))
		}
		return "BlobRule", v
	}
	return "", nil
}

func (e *emitter) intValues(s *lexicon.Integer) values {
	enum := s.Enum
	if s.Const != nil {
		enum = []int64{*s.Const}
	}
	if s.Minimum == nil && s.Maximum == nil && len(enum) == 0 {
		return nil
	}
	var v values
	v.add("Min", e.bound(s.Minimum, "MinInt"))
	v.add("Max", e.bound(s.Maximum, "MaxInt"))
	v.numbers("Enum", enum)
	if s.OddDefault {
		v.numbers("Also", []int64{*s.Default})
	}
	return v
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
