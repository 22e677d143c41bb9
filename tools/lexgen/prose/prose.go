// Package prose says in words what schemas ask for, and turns their texts, which
// may come from anybody, into Markdown and HTML in which nothing of them is
// markup.
package prose

import (
	"strconv"
	"strings"

	"mls-server/lexrt"

	"mls-server/tools/lexgen/lexicon"
)

// Clean makes text fit for one line: white space is one space, and what is
// invisible or changes the writing direction is replaced.
func Clean(text string) string {
	return lexicon.Printable(strings.Join(strings.Fields(text), " "))
}

// Markdown escapes text for one line of Markdown: no character of it is markup,
// also inside a table.
func Markdown(text string) string {
	var b strings.Builder
	for i, r := range Clean(text) {
		switch {
		case r == '<':
			b.WriteString("&lt;")
			continue
		case r == '>':
			b.WriteString("&gt;")
			continue
		case r == '&':
			b.WriteString("&amp;")
			continue
		case strings.ContainsRune("\\`*_[]|~$", r), r == '!' && i == 0, i == 0 && strings.ContainsRune("#+-=:", r):
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return autolink.Replace(b.String())
}

// autolink breaks what renderers turn into links by themselves. A zero-width
// character would be copied along, an escape is not.
var autolink = strings.NewReplacer("://", ":\\//", "www.", "www\\.", "@", "\\@")

// Code puts text into a code span, also inside a table.
func Code(text string) string {
	text = Clean(text)
	if text == "" {
		return "` `"
	}
	fence := "`"
	for strings.Contains(text, fence) {
		fence += "`"
	}
	pad := ""
	if len(fence) > 1 {
		pad = " "
	}
	return fence + pad + strings.ReplaceAll(text, "|", `\|`) + pad + fence
}

// Limits lists the constraints of a schema in plain words, each without markup.
func Limits(s lexicon.Schema) []string {
	var out []string
	add := func(words ...string) { out = append(out, strings.Join(words, "")) }
	switch s := s.(type) {
	case *lexicon.Boolean:
		if s.Const != nil {
			add("always ", strconv.FormatBool(*s.Const))
		}
		if s.Default != nil {
			add("default ", strconv.FormatBool(*s.Default))
		}
	case *lexicon.Integer:
		out = append(out, between(s.Minimum, s.Maximum, "", "")...)
		if s.Const != nil {
			add("always ", num(*s.Const))
		}
		if len(s.Enum) > 0 {
			values := make([]string, len(s.Enum))
			for i, v := range s.Enum {
				values[i] = num(v)
			}
			add("one of ", strings.Join(values, ", "))
		}
		if s.Default != nil {
			add("default ", num(*s.Default))
		}
	case *lexicon.String:
		out = append(out, sizes(s.MinLength, s.MaxLength)...)
		out = append(out, between(s.MinGraphemes, s.MaxGraphemes, " character", " characters")...)
		if s.Const != nil {
			add("always ", strconv.Quote(*s.Const))
		}
		if s.Default != nil {
			add("default ", strconv.Quote(*s.Default))
		}
	case *lexicon.Bytes:
		out = append(out, sizes(s.MinLength, s.MaxLength)...)
	case *lexicon.Array:
		out = append(out, between(s.MinLength, s.MaxLength, " item", " items")...)
	case *lexicon.Blob:
		if s.MaxSize != nil {
			add("at most ", Size(*s.MaxSize))
		}
		if len(s.Accept) > 0 {
			add("of type ", strings.Join(s.Accept, ", "))
		}
	}
	return out
}

// Size is a number of bytes as people say it: in the largest unit that has no fraction, from 4 KiB
// on.
func Size(n int64) string {
	if n == 1 {
		return "1 byte"
	}
	for _, unit := range []struct {
		bytes int64
		name  string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= 4<<10 && n%unit.bytes == 0 {
			return num(n/unit.bytes) + " " + unit.name
		}
	}
	return num(n) + " bytes"
}

// sizes are limits of a length in bytes.
func sizes(low, high *int64) []string {
	if high == nil || low != nil && *low > 0 && *low != *high {
		return between(low, high, " byte", " bytes")
	}
	if low != nil && *low == *high {
		return []string{"exactly " + Size(*high)}
	}
	return []string{"at most " + Size(*high)}
}

func num(n int64) string { return strconv.FormatInt(n, 10) }

func between(low, high *int64, one, many string) []string {
	unit := func(n int64) string {
		if n == 1 {
			return num(n) + one
		}
		return num(n) + many
	}
	// A length is never less than 0, so that limit says nothing.
	free := low != nil && *low == 0 && many != ""
	switch {
	case low != nil && high != nil && *low == *high:
		return []string{"exactly " + unit(*low)}
	case low != nil && high != nil && !free:
		return []string{num(*low) + " to " + unit(*high)}
	case high != nil:
		return []string{"at most " + unit(*high)}
	case low != nil && !free:
		return []string{"at least " + unit(*low)}
	}
	return nil
}

// Values lists the values that a string names, and whether others are allowed.
func Values(s lexicon.Schema) (values []string, open bool) {
	str, ok := s.(*lexicon.String)
	switch {
	case !ok:
		return nil, false
	case len(str.Enum) > 0:
		return str.Enum, false
	}
	return str.KnownValues, true
}

// TypeName says the type of a schema that is neither a reference, an array, nor a union.
func TypeName(s lexicon.Schema) string {
	switch s := s.(type) {
	case *lexicon.String:
		if s.Format != lexrt.FormatNone {
			return s.Format.String()
		}
		return "string"
	case *lexicon.Unknown:
		return "any object"
	case *lexicon.CIDLink:
		return "link"
	}
	return string(s.Kind())
}
