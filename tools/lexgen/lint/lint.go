package lint

import (
	"slices"
	"strings"

	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/reach"
)

// Options change what is reported.
type Options struct {
	// BodyCap tells the largest request body in bytes that a server accepts for a
	// method, 0 when it has no say. It may be nil.
	BodyCap func(nsid string) int64
	// Anonymous tells the methods that take no token on purpose. It may be nil.
	Anonymous func(nsid string) bool
	// Part says that lexicons of the set are missing, so that nothing can be said of what
	// nothing uses.
	Part bool
}

// Check applies all rules to a set without errors and returns the findings, sorted.
func Check(set *lexicon.Set, opt Options) lexicon.Diags {
	l := &linter{set: set, opt: opt, uses: reach.Of(set), severity: map[string]lexicon.Severity{}, used: map[*lexicon.Def]bool{}}
	for _, r := range Rules() {
		l.severity[r.ID] = r.Severity
	}
	for _, f := range set.Files {
		for _, d := range f.Defs {
			lexicon.Walk(d.Schema, l.noteUse)
		}
	}
	for _, f := range set.Files {
		if f.Dep {
			continue // it is for those who wrote it
		}
		l.f = f
		l.file()
		for _, d := range f.Defs {
			l.def(d)
		}
	}
	l.recursion()
	if !opt.Part {
		l.granted()
	}
	l.diags.Sort()
	return l.diags
}

// linter walks over one set. file, use and method describe where it stands.
type linter struct {
	set      *lexicon.Set
	opt      Options
	uses     reach.Map
	used     map[*lexicon.Def]bool
	severity map[string]lexicon.Severity
	f        *lexicon.File
	// use is what the values of the present schema are for; 0 when that is not known.
	use   reach.Use
	diags lexicon.Diags
}

func (l *linter) report(n *lexicon.Node, rule, message, hint string) {
	l.diags = append(l.diags, l.f.Diag(l.severity[rule], n, rule, message, hint))
}

func (l *linter) noteUse(s lexicon.Schema) {
	switch s := s.(type) {
	case *lexicon.Ref:
		l.used[s.Target] = true
	case *lexicon.Union:
		for _, r := range s.Refs {
			l.used[r.Target] = true
		}
	}
}

// sentByOthers reports whether whoever reads values of the present schema has no
// say in their size: in requests and records, or when nobody knows.
func (l *linter) sentByOthers() bool {
	return l.use != reach.Response
}

func (l *linter) file() {
	id := l.f.ID
	dot := strings.LastIndexByte(id, '.')
	domain, name := id[:dot], id[dot+1:]
	if strings.ToLower(domain) != domain || name[0] >= 'A' && name[0] <= 'Z' {
		l.report(nil, "nsid-case", "the id "+id+" has capitals where small letters belong", "write "+strings.ToLower(domain)+"."+strings.ToLower(name[:1])+name[1:])
	}
	prefix := id + "."
	if i := slices.IndexFunc(l.set.Files, func(f *lexicon.File) bool { return strings.HasPrefix(f.ID, prefix) }); i >= 0 {
		l.report(nil, "nsid-group-clash", "the id "+id+" is also the group of "+l.set.Files[i].ID, "give one of them another name")
	}
	main := l.f.Main()
	switch {
	case main != nil && name == "defs":
		l.report(main.Schema.Node(), "defs-main", "a lexicon named defs has a main definition", "move it into a lexicon with a name of its own")
	case main == nil && name != "defs":
		l.report(nil, "defs-name", "the lexicon has no main definition, so it only shares definitions", "name it "+domain+".defs, or "+id+".defs")
	}
	l.text(nil, "the lexicon's description", l.f.Description)
}

// badText reports characters that have no place in a text for people.
func badText(r rune) bool {
	switch {
	case r == '\n', r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r == 0x061c, r == 0x200e, r == 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

func (l *linter) text(n *lexicon.Node, what, text string) {
	if strings.ContainsFunc(text, badText) {
		l.report(n, "description-controls", what+" has characters that are invisible and can change what a reader sees", "take the control characters out")
	}
}

func (l *linter) docText(n *lexicon.Node, doc string) {
	at := n
	if d := n.Get("description"); d != nil {
		at = d
	}
	l.text(at, "the description", doc)
}

func (l *linter) def(d *lexicon.Def) {
	n := d.Schema.Node()
	if d.Name != "main" {
		l.name(n, "definition", d.Name, false)
		if !l.opt.Part && !l.used[d] && d.Schema.Kind() != lexicon.KindToken && !strings.HasSuffix(l.f.ID, ".defs") {
			l.report(n, "unused-def", "nothing uses the definition "+d.Name, "remove it, or move it into a defs lexicon if other sets use it")
		}
	}
	l.use = l.uses[d]
	switch s := d.Schema.(type) {
	case *lexicon.Method:
		l.described(s, string(s.Kind()))
		l.docText(n, s.Description)
		l.method(s)
	case *lexicon.Record:
		l.described(s, "record")
		l.docText(n, s.Description)
		l.schema(s.Object)
	case *lexicon.Token:
		l.described(s, "token")
		l.docText(n, s.Description)
	case *lexicon.PermissionSet:
		l.permissionSet(s)
	default:
		l.schema(s)
	}
}

func (l *linter) described(s lexicon.Schema, what string) {
	if strings.TrimSpace(s.Doc()) == "" {
		l.report(s.Node(), "description-missing", "the "+what+" has no description", `add "description": "…"`)
	}
}
