package openapi

import (
	"strconv"
	"strings"

	"mls-server/lexrt"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/prose"
)

// ref refers to a component.
func ref(goName string) object { return object{{"$ref", "#/components/schemas/" + goName}} }

// schema is the JSON Schema (2020-12) of a type.
func (d *document) schema(t *ir.Type) object {
	switch t.Kind {
	case ir.StructKind:
		d.need(t.Struct)
		return ref(t.Struct.GoName)
	case ir.UnionKind:
		d.need(t.Union)
		return ref(t.Union.GoName)
	case ir.SliceKind:
		d.need(t.Slice)
		return ref(t.Slice.GoName)
	case ir.Array:
		return d.array(t.Schema, t.Elem)
	case ir.Raw:
		return object{}
	case ir.Unknown:
		return object{{"type", "object"}}
	case ir.CID:
		return object{{"type", "object"}, {"required", []string{"$link"}}, {"properties", object{{"$link", object{{"type", "string"}}}}}}
	case ir.Blob:
		return blob(t.Schema)
	case ir.Bytes:
		return bytesSchema(t.Schema)
	default:
		return scalar(t.Schema)
	}
}

func (d *document) array(s lexicon.Schema, elem *ir.Type) object {
	o := object{{"type", "array"}}
	if a, ok := s.(*lexicon.Array); ok {
		if a.MinLength != nil {
			o.set("minItems", *a.MinLength)
		}
		if a.MaxLength != nil {
			o.set("maxItems", *a.MaxLength)
		}
	}
	o.set("items", d.schema(elem))
	return o
}

// base64Len is the length of n bytes as unpadded base64.
func base64Len(n int64) int64 { return (n*8 + 5) / 6 }

func bytesSchema(s lexicon.Schema) object {
	text := object{{"type", "string"}, {"contentEncoding", "base64"}}
	if b, ok := s.(*lexicon.Bytes); ok {
		if b.MinLength != nil && *b.MinLength > 0 {
			text.set("minLength", base64Len(*b.MinLength))
		}
		if b.MaxLength != nil && *b.MaxLength < 1<<40 {
			text.set("maxLength", (*b.MaxLength+2)/3*4) // with padding
		}
	}
	o := object{{"type", "object"}, {"required", []string{"$bytes"}}, {"properties", object{{"$bytes", text}}}}
	if limits := prose.Limits(s); len(limits) > 0 {
		o.set("x-lexicon-limits", limits)
	}
	return o
}

func blob(s lexicon.Schema) object {
	size := object{{"type", "integer"}, {"minimum", 1}}
	if b, ok := s.(*lexicon.Blob); ok && b.MaxSize != nil {
		size.set("maximum", *b.MaxSize)
	}
	o := object{
		{"type", "object"},
		{"required", []string{"$type", "ref", "mimeType", "size"}},
		{"properties", object{
			{"$type", object{{"const", "blob"}}},
			{"ref", object{{"type", "object"}, {"required", []string{"$link"}}, {"properties", object{{"$link", object{{"type", "string"}}}}}}},
			{"mimeType", object{{"type", "string"}}},
			{"size", size},
		}},
	}
	if b, ok := s.(*lexicon.Blob); ok && len(b.Accept) > 0 {
		o.set("x-lexicon-accept", b.Accept)
	}
	return o
}

func scalar(s lexicon.Schema) object {
	switch s := s.(type) {
	case *lexicon.Boolean:
		o := object{{"type", "boolean"}}
		fixed(&o, s.Const, s.Default)
		return o
	case *lexicon.Integer:
		o := object{{"type", "integer"}, {"format", "int64"}}
		if s.Minimum != nil {
			o.set("minimum", *s.Minimum)
		}
		if s.Maximum != nil {
			o.set("maximum", *s.Maximum)
		}
		if len(s.Enum) > 0 {
			o.set("enum", s.Enum)
		}
		fixed(&o, s.Const, s.Default)
		return o
	case *lexicon.String:
		return stringSchema(s)
	}
	return object{}
}

func fixed[T any](o *object, fix, def *T) {
	if fix != nil {
		o.set("const", any(*fix))
	}
	if def != nil {
		o.set("default", any(*def))
	}
}

// stringSchema translates limits as far as JSON Schema has them: it counts code
// points where lexicons count UTF-8 bytes and graphemes. What is lost stands
// under x-lexicon-limits.
func stringSchema(s *lexicon.String) object {
	o := object{{"type", "string"}}
	switch s.Format {
	case lexrt.FormatNone:
	case lexrt.FormatDatetime:
		o.set("format", "date-time")
	default:
		o.set("format", s.Format.String())
	}
	if s.MinLength != nil && *s.MinLength > 0 {
		o.set("minLength", (*s.MinLength+3)/4)
	}
	if s.MaxLength != nil {
		o.set("maxLength", *s.MaxLength)
	}
	if len(s.Enum) > 0 {
		o.set("enum", s.Enum)
	}
	if len(s.KnownValues) > 0 {
		o.set("x-known-values", s.KnownValues)
	}
	fixed(&o, s.Const, s.Default)
	if s.MinLength != nil || s.MaxLength != nil || s.MinGraphemes != nil || s.MaxGraphemes != nil {
		if limits := prose.Limits(&lexicon.String{MinLength: s.MinLength, MaxLength: s.MaxLength, MinGraphemes: s.MinGraphemes, MaxGraphemes: s.MaxGraphemes}); len(limits) > 0 {
			o.set("x-lexicon-limits", limits)
		}
	}
	return o
}

// component is the schema of a named type.
func (d *document) component(decl ir.Decl) object {
	switch t := decl.(type) {
	case *ir.Struct:
		return d.object(t)
	case *ir.Union:
		return d.union(t)
	case *ir.Slice:
		return d.array(t.Schema, &ir.Type{Kind: t.Elem.Kind, Schema: t.Elem.Schema, Enum: t.Elem.Enum, Elem: t.Elem.Elem, Struct: t.Elem.Struct, Union: t.Elem.Union, Slice: t.Elem.Slice})
	}
	return object{}
}

func (d *document) object(s *ir.Struct) object {
	o := object{}
	if s.TypeName != "" {
		o.set("title", s.TypeName)
	}
	o.setText("description", prose.Markdown(s.Doc))
	o.set("type", "object")
	var required []string
	props := object{}
	if s.Role == ir.RoleRecord {
		required = append(required, "$type")
		props.set("$type", object{{"const", s.TypeName}})
	}
	for i, f := range s.Fields {
		if f.Required {
			required = append(required, f.Name)
		}
		props.set(f.Name, d.property(f, s.Schema.Properties[i].Schema.Doc()))
	}
	if required != nil {
		o.set("required", required)
	}
	o.set("properties", props)
	return o
}

// property adds what a field says about itself to its type.
func (d *document) property(f *ir.Field, doc string) object {
	o := d.schema(f.Type)
	if f.Nullable {
		o = object{{"anyOf", []any{o, object{{"type", "null"}}}}}
	}
	if text := describe(doc, f.Type); text != "" {
		o.set("description", text)
	}
	return o
}

func describe(doc string, t *ir.Type) string {
	text := prose.Markdown(doc)
	if values, open := prose.Values(t.Schema); open && len(values) > 0 && t.Kind == ir.String {
		quoted := make([]string, len(values))
		for i, v := range values {
			quoted[i] = prose.Code(v)
		}
		text = strings.TrimSpace(text + " Known values, to which others may be added: " + strings.Join(quoted, ", ") + ".")
	}
	return text
}

// union has one alternative for each member, told apart by $type, and one for
// types that are not known yet when the union is open.
func (d *document) union(u *ir.Union) object {
	o := object{}
	o.setText("description", prose.Markdown(u.Doc))
	var alternatives []any
	var known []any
	for _, s := range u.Members {
		d.need(s)
		alternatives = append(alternatives, object{{"allOf", []any{ref(s.GoName), object{
			{"type", "object"}, {"required", []string{"$type"}}, {"properties", object{{"$type", object{{"const", s.TypeName}}}}},
		}}}})
		known = append(known, s.TypeName)
	}
	if !u.Closed {
		typ := object{{"type", "string"}}
		if known != nil {
			typ.set("not", object{{"enum", known}})
		}
		alternatives = append(alternatives, object{
			{"title", "A type that is not known yet"},
			{"type", "object"},
			{"required", []string{"$type"}},
			{"properties", object{{"$type", typ}}},
		})
	}
	o.set("oneOf", alternatives)
	return o
}

func itoa(n int) string { return strconv.Itoa(n) }
