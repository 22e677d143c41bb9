package breaking

import (
	"mls-server/tools/lexgen/lexicon"
)

// schema compares the schemas of one value.
func (c *comparer) schema(o, n lexicon.Schema) {
	or, oIsRef := o.(*lexicon.Ref)
	nr, nIsRef := n.(*lexicon.Ref)
	if oIsRef || nIsRef {
		c.refs(o, n, or, nr)
		return
	}
	at := place{o.Node(), n.Node()}
	if o.Kind() != n.Kind() {
		c.typeChanged(at, string(o.Kind()), string(n.Kind()))
		return
	}
	switch o := o.(type) {
	case *lexicon.Boolean:
		if n, ok := n.(*lexicon.Boolean); ok {
			constant(c, at, o.Const, n.Const)
			defaults(c, at, o.Default, n.Default)
		}
	case *lexicon.Integer:
		if n, ok := n.(*lexicon.Integer); ok {
			c.integer(o, n)
		}
	case *lexicon.String:
		if n, ok := n.(*lexicon.String); ok {
			c.string(o, n)
		}
	case *lexicon.Bytes:
		if n, ok := n.(*lexicon.Bytes); ok {
			c.lower(at, "minLength", o.MinLength, n.MinLength, true)
			c.upper(at, "maxLength", o.MaxLength, n.MaxLength)
		}
	case *lexicon.Blob:
		if n, ok := n.(*lexicon.Blob); ok {
			c.upper(at, "maxSize", o.MaxSize, n.MaxSize)
			c.accept(at, o.Accept, n.Accept)
		}
	case *lexicon.Array:
		if n, ok := n.(*lexicon.Array); ok {
			c.lower(at, "minLength", o.MinLength, n.MinLength, true)
			c.upper(at, "maxLength", o.MaxLength, n.MaxLength)
			c.schema(o.Items, n.Items)
		}
	case *lexicon.Object:
		if n, ok := n.(*lexicon.Object); ok {
			c.properties(o, n, at)
		}
	case *lexicon.Union:
		if n, ok := n.(*lexicon.Union); ok {
			c.union(o, n)
		}
	}
}

// refs compares values of which at least one is a reference. The same name on
// both sides needs no more: definitions are compared where they stand.
func (c *comparer) refs(o, n lexicon.Schema, or, nr *lexicon.Ref) {
	var names [2]string
	var pair [2]*lexicon.Def
	for i, s := range []struct {
		ref    *lexicon.Ref
		schema *lexicon.Schema
	}{{or, &o}, {nr, &n}} {
		names[i] = "a schema in place"
		if s.ref != nil {
			pair[i], names[i] = s.ref.Target, s.ref.Target.Ref()
			*s.schema = s.ref.Target.Schema
		}
	}
	if names[0] == names[1] {
		return
	}
	at := place{}
	if or != nil {
		at.old = or.Node()
	} else {
		at.old = o.Node()
	}
	if nr != nil {
		at.new = nr.Node()
	} else {
		at.new = n.Node()
	}
	c.report(at, Source, "ref-changed", "the value was "+names[0]+" and is "+names[1], "generated code has another type here", "")
	if c.open[pair] {
		return
	}
	if c.open == nil {
		c.open = map[[2]*lexicon.Def]bool{}
	}
	c.open[pair] = true
	defer delete(c.open, pair)
	// What the targets differ in is reported here, where it takes effect.
	inner := &comparer{before: c.before, after: c.after, uses: c.uses, use: c.use, of: c.of, nf: c.nf, params: c.params, open: c.open}
	if ok, nk := o.Kind(), n.Kind(); ok == lexicon.KindRecord || nk == lexicon.KindRecord {
		c.typeChanged(at, names[0], names[1])
		return
	}
	inner.schema(o, n)
	for _, f := range inner.found {
		below := f.Message
		c.report(at, f.Level, f.Rule, below+" (at "+lexicon.Printable(f.Pointer)+" of "+names[0]+")", f.Why, f.Hint)
	}
}

func field(o *lexicon.Object, name string) *lexicon.Property {
	for _, q := range o.Properties {
		if q.Name == name {
			return q
		}
	}
	return nil
}

// properties compares the fields of objects, or parameters.
func (c *comparer) properties(o, n *lexicon.Object, at place) {
	if n.Node() != nil {
		at.new = n.Node()
	}
	for _, q := range o.Properties {
		nq := field(n, q.Name)
		if nq == nil {
			c.fieldRemoved(q, o, n, at)
			continue
		}
		c.presence(q, nq)
		c.schema(q.Schema, nq.Schema)
	}
	for _, nq := range n.Properties {
		if field(o, nq.Name) != nil || !nq.Required {
			continue
		}
		where := place{nil, nq.Schema.Node()}
		name := lexicon.Printable(nq.Name)
		if c.params {
			c.report(where, Wire, "param-added-required", "the new parameter "+name+" is required", "existing clients do not send it and are refused", "make it optional")
			continue
		}
		c.report(where, c.level(effect{Wire, Contract, Wire}), "field-added-required", "the new field "+name+" is required",
			c.why("existing clients do not send it and are refused", "new clients refuse answers from servers that are not up to date", "existing records lack it and become invalid"), "make it optional")
	}
}

func (c *comparer) fieldRemoved(q *lexicon.Property, o, n *lexicon.Object, at place) {
	where := place{q.Schema.Node(), at.new}
	name := lexicon.Printable(q.Name)
	var added []string
	for _, nq := range n.Properties {
		if field(o, nq.Name) == nil && nq.Schema.Kind() == q.Schema.Kind() {
			added = append(added, nq.Name)
		}
	}
	hint := "keep it, and mark it as deprecated in its description"
	if near := lexicon.Nearest(q.Name, added); near != "" {
		hint = "if it was renamed to " + lexicon.Printable(near) + ", keep the old name beside the new one"
	}
	if c.params {
		c.report(where, Contract, "param-removed", "the parameter "+name+" is gone", "clients that send it get the answer to a different question", hint)
		return
	}
	level := c.level(effect{Contract, Contract, Contract})
	missing := "clients lose what they were told"
	old := "what old records say is ignored, and old readers miss it in new ones"
	if q.Required {
		level = c.level(effect{Contract, Wire, Wire})
		missing = "existing clients require it and refuse the answer"
		old = "old readers require it and refuse new records"
	}
	c.report(where, level, "field-removed", "the field "+name+" is gone", c.why("what clients send is silently ignored", missing, old), hint)
}

// presence compares whether a field must be there and may be null.
func (c *comparer) presence(o, n *lexicon.Property) {
	at := place{o.Schema.Node(), n.Schema.Node()}
	name := lexicon.Printable(o.Name)
	switch {
	case c.params && !o.Required && n.Required:
		c.report(at, Wire, "param-required", "the parameter "+name+" is now required", "clients that leave it out are refused", "leave it optional")
	case c.params && o.Required && !n.Required:
		c.report(at, Source, "param-optional", "the parameter "+name+" is now optional", "the type in generated code changes", "")
	case !o.Required && n.Required:
		c.narrower(at, Source, "field-required", "the field "+name+" is now required", "leave it optional")
	case o.Required && !n.Required:
		c.wider(at, effect{Source, Wire, Wire}, "field-optional", "the field "+name+" may now be absent", "leave it required")
	}
	switch {
	case o.Nullable && !n.Nullable:
		c.narrower(at, Source, "field-not-nullable", "the field "+name+" may no longer be null", "leave it nullable")
	case !o.Nullable && n.Nullable:
		c.wider(at, effect{Source, Wire, Wire}, "field-nullable", "the field "+name+" may now be null", "leave it out instead, if it is optional")
	}
}

func (c *comparer) union(o, n *lexicon.Union) {
	at := place{o.Node(), n.Node()}
	switch {
	case !o.Closed && n.Closed:
		c.narrower(at, Source, "union-closed", "the union is now closed", "leave it open")
	case o.Closed && !n.Closed:
		c.wider(at, effect{Source, Wire, Wire}, "union-opened", "the union is now open", "leave it closed, or make a new field")
	}
	has := func(u *lexicon.Union, name string) bool {
		for _, r := range u.Refs {
			if r.Target.Ref() == name {
				return true
			}
		}
		return false
	}
	for _, r := range o.Refs {
		if name := r.Target.Ref(); !has(n, name) {
			c.report(place{r.Node(), at.new}, c.level(effect{Wire, Contract, Wire}), "union-member-removed", "the union no longer has the member "+name,
				c.why("requests with it are refused or not understood", "clients wait for it in vain", "records that have it become invalid or are not understood"), "keep it")
		}
	}
	for _, r := range n.Refs {
		if name := r.Target.Ref(); !has(o, name) && (o.Closed || n.Closed) {
			c.wider(place{nil, r.Node()}, effect{Source, Wire, Wire}, "union-member-added", "the closed union has the new member "+name, "add it to an open union, or as a new field")
		}
	}
}
