package lint

import (
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

// name checks how a definition, field or error is named.
func (l *linter) name(n *lexicon.Node, what, name string, upper bool) {
	if camel(name, upper) {
		return
	}
	style := "lowerCamelCase"
	if upper {
		style = "UpperCamelCase"
	}
	hint := "use ASCII letters and digits"
	if want := toCamel(name, upper); camel(want, upper) && !strings.ContainsFunc(name, func(r rune) bool { return r >= 0x80 }) {
		hint = "write " + want
	}
	l.report(n, "name-case", "the "+what+" "+quote(name)+" is not in "+style, hint)
}

func quote(s string) string { return `"` + lexicon.Printable(s) + `"` }

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }
func isLower(c byte) bool { return c >= 'a' && c <= 'z' }
func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func camel(s string, upper bool) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		if !isUpper(s[i]) && !isLower(s[i]) && (i == 0 || !isDigit(s[i])) {
			return false
		}
	}
	return isUpper(s[0]) == upper
}

// toCamel joins the words of s; the result need not be a good name.
func toCamel(s string, upper bool) string {
	var b strings.Builder
	up := upper
	for i := range len(s) {
		c := s[i]
		switch {
		case !isUpper(c) && !isLower(c) && !isDigit(c):
			up = b.Len() > 0 || upper
			continue
		case up && isLower(c):
			c -= 'a' - 'A'
		case b.Len() == 0 && !upper && isUpper(c):
			c += 'a' - 'A'
		}
		up = false
		b.WriteByte(c)
	}
	return b.String()
}

func kebab(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c == '-' && i > 0 && i < len(s)-1 && s[i-1] != '-' || isLower(c) || isDigit(c) {
			continue
		}
		return false
	}
	return s != ""
}

// toKebab writes the words of s in kebab-case.
func toKebab(s string) string {
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case isUpper(c):
			if i > 0 && !isUpper(s[i-1]) && b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
				b.WriteByte('-')
			}
			b.WriteByte(c + 'a' - 'A')
		case isLower(c), isDigit(c):
			b.WriteByte(c)
		default:
			if b.Len() > 0 && !strings.HasSuffix(b.String(), "-") {
				b.WriteByte('-')
			}
		}
	}
	return strings.Trim(b.String(), "-")
}

// isToken reports whether a known value is the name of a definition.
func isToken(v string) bool { return strings.Contains(v, "#") || strings.Count(v, ".") >= 2 }

// values checks the values of an enum or of knownValues, as one finding for each list.
func (l *linter) values(n *lexicon.Node, key string, values []string) {
	var odd []string
	for i, v := range values {
		at := n.Get(key)
		switch {
		case strings.HasPrefix(v, "#"):
			if i < len(at.Items) {
				at = at.Items[i]
			}
			l.report(at, "known-value-local", "the value "+quote(v)+" looks like a reference into this file", "write the token's whole name, "+l.f.ID+lexicon.Printable(v))
		case !isToken(v) && !kebab(v):
			odd = append(odd, v)
		}
	}
	if odd == nil {
		return
	}
	hint := "write values as words-with-dashes"
	if want := toKebab(odd[0]); kebab(want) {
		hint = "write " + want + " for " + quote(odd[0])
	}
	for i := range odd {
		odd[i] = quote(odd[i])
	}
	l.report(n.Get(key), "known-value-case", "values under "+key+" are not in kebab-case: "+strings.Join(odd, ", "), hint)
}

var (
	readVerbs = []string{
		"get", "list", "search", "query", "describe", "resolve", "check", "count", "find", "lookup", "preview", "export", "fetch", "read", "download",
	}
	writeVerbs = []string{"create", "update", "delete", "upsert", "put", "set", "add", "remove", "send", "write"}
)

// verb returns the first of the verbs that name starts with as a whole word.
func verb(name string, verbs []string) string {
	for _, v := range verbs {
		if rest, ok := strings.CutPrefix(name, v); ok && (rest == "" || !isLower(rest[0])) {
			return v
		}
	}
	return ""
}

func (l *linter) verbs(s *lexicon.Method) {
	name := l.f.ID[strings.LastIndexByte(l.f.ID, '.')+1:]
	switch s.Kind() {
	case lexicon.KindQuery:
		if v := verb(name, writeVerbs); v != "" {
			l.report(s.Node(), "name-verb", "the query "+name+" is named as if it changed something", "make it a procedure, or name it for what it reads: get…, list…, search…")
		} else if verb(name, readVerbs) == "" {
			l.report(s.Node(), "name-verb", "the name of the query "+name+" does not start with a reading verb", "name it get…, list… or search…")
		}
	case lexicon.KindProcedure:
		if v := verb(name, []string{"get", "list", "search", "query"}); v != "" {
			l.report(s.Node(), "name-verb", "the procedure "+name+" is named as if it only read", "make it a query, or name it for what it changes: create…, update…, delete…")
		}
	case lexicon.KindSubscription:
		if verb(name, []string{"subscribe"}) == "" {
			l.report(s.Node(), "name-verb", "the name of the subscription "+name+" does not start with subscribe", "name it subscribe…")
		}
	default:
	}
}
