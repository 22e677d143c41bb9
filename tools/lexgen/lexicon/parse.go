package lexicon

import (
	"slices"
	"strconv"
	"strings"

	"mls-server/lexrt"
)

var allKinds = []string{
	"array", "blob", "boolean", "bytes", "cid-link", "integer", "object", "params", "permission", "permission-set", "procedure",
	"query", "record", "ref", "space", "string", "subscription", "token", "union", "unknown",
}

// Kinds are all types of the language, sorted.
func Kinds() []string { return slices.Clone(allKinds) }

// schema reads any schema. It returns nil after reporting why there is none.
func (p *parser) schema(n *Node, what string) Schema {
	if n.Kind != '{' {
		p.errorf(n, "type", what+" must be an object with a type, not "+n.describe(), "")
		return nil
	}
	t := n.Get("type")
	if t == nil {
		hint := `add "type"`
		switch {
		case n.Get("properties") != nil:
			hint = `add "type": "object"`
		case n.Get("$ref") != nil:
			hint = `write {"type": "ref", "ref": …}; Lexicon is not JSON Schema`
		case n.Get("ref") != nil:
			hint = `add "type": "ref"`
		case n.Get("refs") != nil:
			hint = `add "type": "union"`
		case n.Get("items") != nil:
			hint = `add "type": "array"`
		}
		p.errorf(n, "type-missing", what+` has no "type"`, hint)
		return nil
	}
	if t.Kind != '"' {
		p.errorf(t, "type", `"type" must be a string, not `+t.describe(), "")
		return nil
	}
	b := Base{kind: Kind(t.Text), node: n}
	switch b.kind {
	case KindBoolean:
		return p.boolean(b)
	case KindInteger:
		return p.integer(b)
	case KindString:
		return p.string(b)
	case KindBytes:
		o := p.base(&b, "minLength", "maxLength")
		s := &Bytes{Base: b, MinLength: o.size("minLength"), MaxLength: o.size("maxLength")}
		o.ordered("minLength", "maxLength")
		return s
	case KindCIDLink:
		p.base(&b)
		return &CIDLink{b}
	case KindBlob:
		return p.blob(b)
	case KindArray:
		return p.array(b)
	case KindObject:
		return p.objectSchema(b)
	case KindParams:
		return p.params(b)
	case KindToken:
		p.base(&b)
		return &Token{b}
	case KindRef:
		return p.ref(b)
	case KindUnion:
		return p.union(b)
	case KindUnknown:
		p.base(&b)
		return &Unknown{b}
	case KindRecord:
		return p.record(b)
	case KindQuery, KindProcedure, KindSubscription:
		return p.method(b)
	case KindPermissionSet:
		return p.permissionSet(b)
	case KindPermission:
		return p.permission(b)
	case KindSpace:
		return &Space{b}
	}
	p.errorf(t, "type-unknown", strconv.Quote(t.Text)+" is not a type of the language", typeHint(t.Text))
	return nil
}

// typeHint suggests a type for a word that is not a type.
func typeHint(word string) string {
	switch strings.ToLower(word) {
	case "number", "int", "int64", "float", "double", "long":
		return `the language has no floating-point numbers; use "integer" (or a string for fractions)`
	case "bool":
		return `did you mean "boolean"?`
	case "null":
		return `list the property under "nullable" instead`
	case "enum":
		return `use "string" with "enum" or "knownValues"`
	case "date", "datetime", "timestamp":
		return `use "string" with "format": "datetime"`
	case "link", "cid":
		return `use "cid-link", or "string" with "format": "cid"`
	case "map", "any", "json":
		return `use "unknown" for any object`
	case "list":
		return `did you mean "array"?`
	case "did", "handle", "uri", "at-uri", "nsid", "tid", "language":
		return `use "string" with "format": ` + strconv.Quote(strings.ToLower(word))
	}
	if near := Nearest(word, allKinds); near != "" {
		return "did you mean " + strconv.Quote(near) + "?"
	}
	return typesHint
}

var typesHint = "the types are " + strings.Join(allKinds, ", ")

// base checks the keys of a schema and reads what all schemas have.
func (p *parser) base(b *Base, known ...string) object {
	o := p.object(b.node, append([]string{"type", "description"}, known...)...)
	b.Description = o.str("description")
	return o
}

func (p *parser) boolean(b Base) Schema {
	o := p.base(&b, "default", "const")
	s := &Boolean{Base: b, Default: o.boolPtr("default"), Const: o.boolPtr("const")}
	p.exclusive(o)
	return s
}

// exclusive refuses a default beside a const, which the specification calls mutually exclusive.
func (p *parser) exclusive(o object) {
	if o.get("default") != nil && o.get("const") != nil {
		p.errorf(o.get("default"), "default-const", `"default" and "const" exclude each other`, `take "default" away: "const" allows no other value`)
	}
}

func (p *parser) integer(b Base) Schema {
	o := p.base(&b, "minimum", "maximum", "enum", "default", "const")
	s := &Integer{
		Base: b, Minimum: o.intPtr("minimum"), Maximum: o.intPtr("maximum"),
		Default: o.intPtr("default"), Const: o.intPtr("const"),
	}
	o.ordered("minimum", "maximum")
	var has bool
	if s.Enum, has = o.ints("enum"); has && len(s.Enum) == 0 {
		p.errorf(o.get("enum"), "enum-empty", `"enum" must have at least one value`, "")
	}
	rule := lexrt.IntRule{Min: lexrt.MinInt, Max: lexrt.MaxInt}
	if s.Minimum != nil {
		rule.Min = *s.Minimum
	}
	if s.Maximum != nil {
		rule.Max = *s.Maximum
	}
	for i, e := range s.Enum {
		if problem := rule.Problem(e); problem != "" && len(s.Enum) == len(o.get("enum").Items) {
			p.errorf(o.get("enum").Items[i], "enum-value", "the enum value "+strconv.FormatInt(e, 10)+" "+problem, "")
		}
	}
	rule.Enum = s.Enum
	p.exclusive(o)
	if s.Const != nil {
		p.fixed(o, "const", strconv.FormatInt(*s.Const, 10), rule.Problem(*s.Const))
	} else if s.Default != nil {
		s.OddDefault = p.fixed(o, "default", strconv.FormatInt(*s.Default, 10), rule.Problem(*s.Default))
	}
	return s
}

// fixed reports a const that its own schema refuses, and warns of such a default: the
// specification does not say that a default satisfies the rest. It reports whether there is a
// problem.
func (p *parser) fixed(o object, key, value, problem string) bool {
	if problem == "" {
		return false
	}
	report := p.errorf
	if key == "default" {
		report = p.warnf
	}
	report(o.get(key), key, "the "+key+" "+value+" breaks its own schema: it "+problem, "correct the "+key+" or the constraint")
	return true
}

func (p *parser) string(b Base) Schema {
	o := p.base(&b, "format", "minLength", "maxLength", "minGraphemes", "maxGraphemes", "enum", "knownValues", "default", "const")
	s := &String{
		Base: b, MinLength: o.size("minLength"), MaxLength: o.size("maxLength"),
		MinGraphemes: o.size("minGraphemes"), MaxGraphemes: o.size("maxGraphemes"),
		Default: o.strPtr("default"), Const: o.strPtr("const"),
	}
	o.ordered("minLength", "maxLength")
	o.ordered("minGraphemes", "maxGraphemes")
	if s.MinGraphemes != nil && s.MaxLength != nil && *s.MinGraphemes > *s.MaxLength {
		p.errorf(o.get("minGraphemes"), "limits", "minGraphemes is greater than maxLength, so no value is allowed", "a grapheme has at least one byte")
	}
	if v := o.typed("format", '"', "a string"); v != nil {
		var ok bool
		if s.Format, ok = lexrt.ParseFormat(v.Text); !ok {
			p.warnf(v, "format-unknown", "the format "+strconv.Quote(v.Text)+" is not known: the string may hold anything", formatHint(v.Text))
		}
	}
	var has bool
	if s.Enum, has = o.strings("enum"); has && len(s.Enum) == 0 {
		p.errorf(o.get("enum"), "enum-empty", `"enum" must have at least one value`, "")
	}
	s.KnownValues, _ = o.strings("knownValues")
	rule := stringRule(s)
	for _, e := range s.Enum {
		if problem := rule.Problem(e); problem != "" {
			p.errorf(o.get("enum"), "enum-value", "the enum value "+strconv.Quote(e)+" "+problem, "")
		}
	}
	rule.Enum = s.Enum
	p.exclusive(o)
	if s.Const != nil {
		p.fixed(o, "const", strconv.Quote(*s.Const), rule.Problem(*s.Const))
	} else if s.Default != nil {
		s.OddDefault = p.fixed(o, "default", strconv.Quote(*s.Default), rule.Problem(*s.Default))
	}
	return s
}

// stringRule holds the constraints of s but for enum and const.
func stringRule(s *String) lexrt.StringRule {
	r := lexrt.StringRule{Format: s.Format}
	r.MinLen, r.MaxLen = limits(s.MinLength, s.MaxLength)
	r.MinGraphemes, r.MaxGraphemes = limits(s.MinGraphemes, s.MaxGraphemes)
	return r
}

func limits(low, high *int64) (lo, hi int) {
	if low != nil {
		lo = int(*low)
	}
	if high != nil {
		hi = int(*high)
		if hi == 0 {
			hi = lexrt.Zero
		}
	}
	return lo, hi
}

func formatHint(word string) string {
	var all []string
	for f := lexrt.FormatATIdentifier; f <= lexrt.FormatURI; f++ {
		all = append(all, f.String())
	}
	switch strings.ToLower(word) {
	case "date-time", "timestamp", "date":
		return `did you mean "datetime"?`
	case "url":
		return `did you mean "uri"?`
	case "lang", "bcp47":
		return `did you mean "language"?`
	}
	if near := Nearest(word, all); near != "" {
		return "did you mean " + strconv.Quote(near) + "?"
	}
	return "the formats are " + strings.Join(all, ", ")
}

func (p *parser) blob(b Base) Schema {
	o := p.base(&b, "accept", "maxSize")
	s := &Blob{Base: b, MaxSize: o.size("maxSize")}
	if s.MaxSize != nil && *s.MaxSize == 0 {
		p.errorf(o.get("maxSize"), "limits", `"maxSize" is 0, so no blob is allowed`, "give the largest size in bytes, or leave it out")
	}
	s.Accept, _ = o.strings("accept")
	for i, a := range s.Accept {
		typ, sub, ok := strings.Cut(a, "/")
		bad := !ok || typ == "" || sub == "" || strings.Contains(typ, "*") && a != "*/*" || strings.Contains(sub, "*") && sub != "*" ||
			strings.ContainsAny(a, " \t\n,;")
		if bad {
			p.errorf(o.get("accept").Items[min(i, len(o.get("accept").Items)-1)], "accept",
				strconv.Quote(a)+" is not a media type pattern", `write type/subtype, type/* or */*`)
		}
	}
	return s
}

func (p *parser) array(b Base) Schema {
	o := p.base(&b, "items", "minLength", "maxLength")
	s := &Array{Base: b, MinLength: o.size("minLength"), MaxLength: o.size("maxLength")}
	o.ordered("minLength", "maxLength")
	items := o.get("items")
	if items == nil {
		p.errorf(b.node, "items-missing", `an array needs "items"`, `add "items": {"type": …}`)
		return nil
	}
	if s.Items = p.schema(items, `"items"`); s.Items == nil || !p.field(s.Items, items, "an array item") {
		return nil
	}
	return s
}

// field refuses types that cannot be the type of a field or an item.
func (p *parser) field(s Schema, n *Node, what string) bool {
	switch k := s.Kind(); {
	case k.Primary(), k == KindParams, k == KindToken, k == KindPermission:
		hint := "refer to a definition with a ref"
		if k == KindToken {
			hint = `use a string with the token's full name under "knownValues"`
		}
		p.errorf(n, "not-a-field", what+` cannot have the type "`+string(k)+`"`, hint)
		return false
	}
	return true
}

func (p *parser) objectSchema(b Base) Schema {
	o := p.base(&b, "properties", "required", "nullable")
	s := &Object{Base: b}
	p.properties(o, s, func(sub Schema, n *Node) bool { return p.field(sub, n, "a property") })
	for _, name := range p.named(o, "nullable", s) {
		s.property(name).Nullable = true
	}
	return s
}

func (o *Object) property(name string) *Property {
	for _, q := range o.Properties {
		if q.Name == name {
			return q
		}
	}
	return nil
}

func (p *parser) properties(o object, s *Object, allowed func(Schema, *Node) bool) {
	props := o.typed("properties", '{', "an object")
	broken := map[string]bool{}
	if props != nil {
		for _, m := range props.Members {
			if m.Name == "$type" {
				p.errorf(m.Value, "property-type", `"$type" is reserved by the data model and cannot be a property`, "remove it")
				continue
			}
			if m.Name == "" {
				p.errorf(m.Value, "property-name", "a property must have a name", "give it one, or remove it")
				continue
			}
			sub := p.schema(m.Value, "a property")
			if sub == nil || !allowed(sub, m.Value) {
				broken[m.Name] = true
				continue
			}
			s.Properties = append(s.Properties, &Property{Name: m.Name, Schema: sub})
		}
	}
	for _, name := range p.named(o, "required", s, broken) {
		s.property(name).Required = true
	}
}

// named reads a list of property names and reports those that do not exist.
func (p *parser) named(o object, key string, s *Object, broken ...map[string]bool) []string {
	list, ok := o.strings(key)
	if !ok {
		return nil
	}
	var all, out []string
	for _, q := range s.Properties {
		all = append(all, q.Name)
	}
	for _, name := range list {
		if slices.Contains(all, name) {
			out = append(out, name)
			continue
		}
		if props := o.get("properties"); props.Get(name) != nil || len(broken) > 0 && broken[0][name] {
			continue // the property itself was reported
		}
		at := o.get(key)
		for _, it := range at.Items {
			if it.Text == name {
				at = it
			}
		}
		hint := `add it under "properties" or take it from "` + key + `"`
		if near := Nearest(name, all); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "?"
		}
		p.errorf(at, key, strconv.Quote(name)+` is listed under "`+key+`" but is not a property`, hint)
	}
	return out
}

func (p *parser) params(b Base) Schema {
	o := p.base(&b, "properties", "required")
	s := &Object{Base: b}
	p.properties(o, s, func(sub Schema, n *Node) bool {
		k := sub.Kind()
		if a, ok := sub.(*Array); ok {
			k = a.Items.Kind()
		}
		if k == KindBoolean || k == KindInteger || k == KindString {
			return true
		}
		p.errorf(n, "param-type", `a parameter cannot have the type "`+string(k)+`"`,
			"parameters are booleans, integers, strings and arrays of these; put anything else into the input of a procedure")
		return false
	})
	return s
}

func (p *parser) ref(b Base) Schema {
	o := p.base(&b, "ref")
	s := &Ref{Base: b, Ref: o.str("ref")}
	if o.get("ref") == nil {
		p.errorf(b.node, "ref-missing", `a ref needs "ref"`, `add "ref": "#name" or "ref": "com.example.defs#name"`)
		return nil
	}
	if o.get("ref").Kind != '"' || !p.refSyntax(o.get("ref"), s.Ref) {
		return nil
	}
	return s
}

func (p *parser) refSyntax(n *Node, ref string) bool {
	id, frag, has := strings.Cut(ref, "#")
	if ref == "" || has && (frag == "" || strings.Contains(frag, "#")) {
		p.errorf(n, "ref-syntax", strconv.Quote(ref)+" is not a reference", `write "#name", "com.example.thing" or "com.example.thing#name"`)
		return false
	}
	if id != "" {
		if problem := nsidProblem(id); problem != "" {
			hint := `write "#name", "com.example.thing" or "com.example.thing#name"`
			if !has && plainName(id) {
				hint = "did you mean " + strconv.Quote("#"+id) + "? A definition of the same file starts with #"
			}
			p.errorf(n, "ref-syntax", strconv.Quote(ref)+" is not a reference: "+problem, hint)
			return false
		}
	}
	return true
}

func (p *parser) union(b Base) Schema {
	o := p.base(&b, "refs", "closed")
	s := &Union{Base: b, Closed: o.isTrue("closed")}
	refs := o.array("refs")
	if o.get("refs") == nil {
		p.errorf(b.node, "refs-missing", `a union needs "refs"`, `add "refs": ["#a", "#b"]`)
	}
	if refs == nil {
		return nil
	}
	for _, it := range refs.Items {
		if it.Kind != '"' {
			p.errorf(it, "type", `"refs" must hold strings, not `+it.describe(), "")
			continue
		}
		if p.refSyntax(it, it.Text) {
			s.Refs = append(s.Refs, &Ref{Base: Base{kind: KindRef, node: it}, Ref: it.Text})
		}
	}
	if s.Closed && len(refs.Items) == 0 {
		p.errorf(refs, "union-empty", "a closed union without refs allows no value", `name at least one definition, or leave out "closed"`)
	}
	return s
}
