package breaking

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"mls-server/lexrt"

	"mls-server/tools/lexgen/lexicon"
)

// key is the place of one keyword in both versions.
func (p place) key(name string) place {
	at := p
	if k := p.old.Get(name); k != nil {
		at.old = k
	}
	if k := p.new.Get(name); k != nil {
		at.new = k
	}
	return at
}

func (c *comparer) tightened(at place, key, message string) {
	c.narrower(at.key(key), Review, "limit-tightened", message, "keep the old limit")
}

func (c *comparer) loosened(at place, key, message string) {
	c.wider(at.key(key), effect{Review, Contract, Wire}, "limit-loosened", message, "keep the old limit where others read the values")
}

func (c *comparer) upper(at place, key string, o, n *int64) {
	switch {
	case o == nil && n == nil, o != nil && n != nil && *o == *n:
	case o == nil:
		c.tightened(at, key, key+" is "+num(n)+" and had no limit before")
	case n == nil:
		c.loosened(at, key, key+" was "+num(o)+" and has no limit now")
	case *n < *o:
		c.tightened(at, key, key+" is "+num(n)+" instead of "+num(o))
	default:
		c.loosened(at, key, key+" is "+num(n)+" instead of "+num(o))
	}
}

// lower compares lower limits. Absent is the same as 0 for a length.
func (c *comparer) lower(at place, key string, o, n *int64, length bool) {
	if length {
		zero := int64(0)
		if o == nil {
			o = &zero
		}
		if n == nil {
			n = &zero
		}
	}
	switch {
	case o == nil && n == nil, o != nil && n != nil && *o == *n:
	case o == nil:
		c.tightened(at, key, key+" is "+num(n)+" and had no limit before")
	case n == nil:
		c.loosened(at, key, key+" was "+num(o)+" and has no limit now")
	case *n > *o:
		c.tightened(at, key, key+" is "+num(n)+" instead of "+num(o))
	default:
		c.loosened(at, key, key+" is "+num(n)+" instead of "+num(o))
	}
}

func num(n *int64) string { return strconv.FormatInt(*n, 10) }

func show(v any) string {
	if s, ok := v.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(v)
}

func constant[T comparable](c *comparer, at place, o, n *T) {
	at = at.key("const")
	switch {
	case o == nil && n == nil, o != nil && n != nil && *o == *n:
	case o == nil:
		c.narrower(at, Review, "const-added", "the value must now be "+show(*n), "leave it free")
	case n == nil:
		c.wider(at, effect{Review, Wire, Wire}, "const-removed", "the value was always "+show(*o)+" and may now be anything", "leave it constant")
	default:
		c.report(at, Wire, "const-changed", "the value must be "+show(*n)+" instead of "+show(*o),
			c.why("existing requests are refused", "clients that check answers refuse the new value", "old records become invalid, and old readers refuse new ones"), "add a new field or a new definition")
	}
}

func defaults[T comparable](c *comparer, at place, o, n *T) {
	at = at.key("default")
	switch {
	case o == nil && n == nil, o != nil && n != nil && *o == *n:
	case o == nil:
		c.report(at, Source, "default-added", "the default is now "+show(*n), "the type in generated code changes, and leaving the value out now has a meaning", "")
	case n == nil:
		c.report(at, c.level(effect{Contract, Source, Source}), "default-removed", "the default "+show(*o)+" is gone", "whoever leaves the value out relies on it", "keep the default")
	default:
		c.report(at, Review, "default-changed", "the default is "+show(*n)+" instead of "+show(*o), "whoever leaves the value out gets something else", "make sure that nobody relies on the old one")
	}
}

// enums compares lists of the only allowed values.
func enums[T comparable](c *comparer, at place, o, n []T) {
	at = at.key("enum")
	switch {
	case len(o) == 0 && len(n) == 0:
		return
	case len(o) == 0:
		c.narrower(at, Source, "enum-added", "only the values of an enum are now allowed", "use knownValues")
		return
	case len(n) == 0:
		c.wider(at, effect{Source, Wire, Wire}, "enum-dropped", "values outside the enum are now allowed", "leave it, and add a new field")
		return
	}
	for _, v := range o {
		if !slices.Contains(n, v) {
			c.narrower(at, Source, "enum-value-removed", "the enum no longer has the value "+show(v), "keep it")
		}
	}
	for _, v := range n {
		if !slices.Contains(o, v) {
			c.wider(at, effect{Review, Wire, Wire}, "enum-value-added", "the enum has the new value "+show(v), "add a new field with knownValues")
		}
	}
}

func (c *comparer) integer(o, n *lexicon.Integer) {
	at := place{o.Node(), n.Node()}
	c.lower(at, "minimum", o.Minimum, n.Minimum, false)
	c.upper(at, "maximum", o.Maximum, n.Maximum)
	enums(c, at, o.Enum, n.Enum)
	constant(c, at, o.Const, n.Const)
	defaults(c, at, o.Default, n.Default)
}

func (c *comparer) string(o, n *lexicon.String) {
	at := place{o.Node(), n.Node()}
	c.lower(at, "minLength", o.MinLength, n.MinLength, true)
	c.upper(at, "maxLength", o.MaxLength, n.MaxLength)
	c.lower(at, "minGraphemes", o.MinGraphemes, n.MinGraphemes, true)
	c.upper(at, "maxGraphemes", o.MaxGraphemes, n.MaxGraphemes)
	enums(c, at, o.Enum, n.Enum)
	constant(c, at, o.Const, n.Const)
	defaults(c, at, o.Default, n.Default)
	c.format(at.key("format"), o.Format, n.Format)
	for _, v := range o.KnownValues {
		if !slices.Contains(n.KnownValues, v) && !slices.Contains(n.Enum, v) {
			c.report(at.key("knownValues"), Source, "known-value-removed", "the known value "+strconv.Quote(v)+" is gone", "generated code loses its constant, and nobody can look up what it means", "keep it, and mark it as deprecated in the description")
		}
	}
}

// within reports whether every value of format a is one of format b too.
func within(a, b lexrt.Format) bool {
	switch b {
	case lexrt.FormatNone:
		return true
	case lexrt.FormatATIdentifier:
		return a == lexrt.FormatDID || a == lexrt.FormatHandle
	case lexrt.FormatURI:
		return a == lexrt.FormatDID || a == lexrt.FormatATURI
	case lexrt.FormatRecordKey:
		return a == lexrt.FormatTID || a == lexrt.FormatNSID
	default:
		return false
	}
}

func (c *comparer) format(at place, o, n lexrt.Format) {
	name := func(f lexrt.Format) string {
		if f == lexrt.FormatNone {
			return "none"
		}
		return f.String()
	}
	message := "the format is " + name(n) + " instead of " + name(o)
	switch {
	case o == n:
	case within(n, o):
		c.narrower(at, Source, "format-added", message, "leave it, and add a new field")
	case within(o, n):
		c.wider(at, effect{Source, Contract, Wire}, "format-removed", message, "leave it, and add a new field")
	default:
		c.report(at, Wire, "format-changed", message,
			c.why("existing requests are refused", "clients that check answers refuse the new values", "old records become invalid, and old readers refuse new ones"), "add a new field")
	}
}

// accept compares the media types that a blob may have; no list allows all.
func (c *comparer) accept(at place, o, n []string) {
	all := []string{"*/*"}
	if len(o) == 0 {
		o = all
	}
	if len(n) == 0 {
		n = all
	}
	at = at.key("accept")
	for _, m := range o {
		if !covered(m, n) {
			c.narrower(at, Review, "accept-narrowed", "blobs of type "+lexicon.Printable(m)+" are no longer accepted", "keep the media type")
		}
	}
	for _, m := range n {
		if !covered(m, o) {
			c.wider(at, effect{Review, Contract, Contract}, "accept-widened", "blobs of type "+lexicon.Printable(m)+" are now accepted too", "make sure that readers can cope with it")
		}
	}
}

// covered reports whether one of the patterns allows all that m does.
func covered(m string, patterns []string) bool {
	typ, _, _ := strings.Cut(m, "/")
	return slices.Contains(patterns, "*/*") || slices.Contains(patterns, m) || slices.Contains(patterns, typ+"/*")
}
