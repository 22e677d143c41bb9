package breaking

import (
	"cmp"
	"slices"
	"strings"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/reach"
)

// Finding is one change that breaks someone or should be looked at.
type Finding struct {
	Rule  string
	Level Level
	// Lexicon and Pointer are the place in the old version, or in the new one for
	// what is new there. A waiver names them.
	Lexicon, Pointer string
	// File, Line and Col are the place in the new version that is nearest; Line is 0 for none.
	File      string
	Line, Col int
	// Message says what changed, Why whom it breaks, Hint (may be "") what to do instead.
	Message, Why, Hint string
}

// Version is a set without errors and its policy, which may be nil.
type Version struct {
	Set    *lexicon.Set
	Policy *ir.Policy
}

// Compare returns what changed from before to after, sorted by place.
func Compare(before, after Version) []Finding {
	c := &comparer{before: before, after: after, uses: reach.Of(before.Set)}
	for _, f := range before.Set.Files {
		if !f.Dep {
			c.file(f)
		}
	}
	slices.SortFunc(c.found, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(a.Lexicon, b.Lexicon), cmp.Compare(a.Pointer, b.Pointer), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(c.found)
}

// comparer walks over both versions at once.
type comparer struct {
	before, after Version
	uses          reach.Map
	// use is what the old version uses the present schema for.
	use reach.Use
	// of and nf are the files that the walk is in.
	of, nf *lexicon.File
	// params is true inside of parameters.
	params bool
	// open has the pairs of definitions that are being compared through a changed reference.
	open  map[[2]*lexicon.Def]bool
	found []Finding
}

// place is where something stands: in the old version, in the new, or both.
type place struct{ old, new *lexicon.Node }

func (c *comparer) report(at place, level Level, rule, message, why, hint string) {
	if level == Review {
		hint = "" // there is nothing to mend
	}
	f := Finding{Rule: rule, Level: level, Lexicon: c.of.ID, Message: message, Why: why, Hint: hint}
	switch {
	case at.old != nil:
		f.Pointer = at.old.Pointer()
	case at.new != nil:
		f.Pointer = at.new.Pointer()
	}
	f.File = c.of.Path
	if c.nf != nil {
		d := c.nf.Diag(lexicon.Error, at.new, rule, "", "")
		f.File, f.Line, f.Col = d.File, d.Line, d.Col
	}
	c.found = append(c.found, f)
}

// effect is what a change does in each direction; 0 means nothing.
type effect struct{ request, response, record Level }

// level is the worst of the directions in which the values go.
func (c *comparer) level(e effect) Level {
	var l Level
	for _, d := range []struct {
		use   reach.Use
		level Level
	}{{reach.Request, e.request}, {reach.Response, e.response}, {reach.Record, e.record}} {
		if c.use&d.use != 0 {
			l = max(l, d.level)
		}
	}
	return l
}

// narrower reports that the new version allows fewer values.
func (c *comparer) narrower(at place, response Level, rule, message, hint string) {
	why := c.why("requests that are valid today will be refused",
		"existing clients are safe, but new ones refuse answers from servers that are not up to date",
		"existing records become invalid")
	c.report(at, c.level(effect{Wire, response, Wire}), rule, message, why, hint)
}

// wider reports that the new version allows more values.
func (c *comparer) wider(at place, e effect, rule, message, hint string) {
	why := c.why("existing requests stay valid",
		"clients that check answers refuse the new values",
		"readers that are not up to date refuse the new records")
	c.report(at, c.level(e), rule, message, why, hint)
}

func (c *comparer) why(request, response, record string) string {
	var parts []string
	if c.use&reach.Request != 0 {
		parts = append(parts, "in requests: "+request)
	}
	if c.use&reach.Response != 0 {
		parts = append(parts, "in responses: "+response)
	}
	if c.use&reach.Record != 0 {
		parts = append(parts, "in records: "+record)
	}
	return strings.Join(parts, "; ")
}

func (c *comparer) file(f *lexicon.File) {
	c.of, c.nf = f, c.after.Set.File(f.ID)
	if c.nf == nil {
		c.lexiconRemoved(f)
		return
	}
	for _, d := range f.Defs {
		c.params = false
		c.use = c.uses[d]
		if c.use == 0 {
			c.use = reach.Request | reach.Response | reach.Record
		}
		n := c.nf.Def(d.Name)
		if n == nil {
			var names []string
			for _, other := range c.nf.Defs {
				if f.Def(other.Name) == nil {
					names = append(names, other.Name)
				}
			}
			hint := "keep the definition, and mark it as deprecated in its description"
			if near := lexicon.Nearest(d.Name, names); near != "" {
				hint = "if it was renamed to " + near + ", keep the old name beside the new one"
			}
			c.report(place{d.Schema.Node(), nil}, Contract, "def-removed", "the definition "+d.Ref()+" is gone", "lexicons of others may refer to it, and generated code loses its type", hint)
			continue
		}
		c.main(d, n)
	}
}

func (c *comparer) lexiconRemoved(f *lexicon.File) {
	level, why := Contract, "lexicons of others may refer to its definitions"
	if m := f.Main(); m != nil {
		switch m.Schema.(type) {
		case *lexicon.Method:
			level, why = Wire, "clients that call the method get an error"
		case *lexicon.Record:
			level, why = Wire, "nobody can read or check existing records"
		}
	}
	hint := "keep the lexicon, and mark it as deprecated in its description"
	var added []string
	for _, n := range c.after.Set.Files {
		if c.before.Set.File(n.ID) == nil {
			added = append(added, n.ID)
		}
	}
	if near := lexicon.Nearest(f.ID, added); near != "" {
		hint = "if it was renamed to " + near + ", keep the old name beside the new one"
	}
	c.report(place{}, level, "lexicon-removed", "the lexicon "+f.ID+" is gone", why, hint)
}

// main compares two definitions of one name.
func (c *comparer) main(d, n *lexicon.Def) {
	at := place{d.Schema.Node(), n.Schema.Node()}
	ok, nk := d.Schema.Kind(), n.Schema.Kind()
	if ok != nk {
		if ok.Primary() || nk.Primary() {
			c.report(at, Wire, "kind-changed", "the "+string(ok)+" "+d.Ref()+" became a "+string(nk), "nothing that uses it today will keep working", "give the new one a name of its own")
			return
		}
		c.typeChanged(at, string(ok), string(nk))
		return
	}
	switch o := d.Schema.(type) {
	case *lexicon.Method:
		if nm, ok := n.Schema.(*lexicon.Method); ok {
			c.method(o, nm)
		}
	case *lexicon.Record:
		if nr, ok := n.Schema.(*lexicon.Record); ok {
			c.record(o, nr)
		}
	case *lexicon.PermissionSet:
		if np, ok := n.Schema.(*lexicon.PermissionSet); ok {
			c.permissions(o, np)
		}
	default:
		c.schema(d.Schema, n.Schema)
	}
}

func (c *comparer) typeChanged(at place, from, to string) {
	c.report(at, Wire, "type-changed", "the type changed from "+from+" to "+to,
		c.why("existing values will be refused", "clients cannot decode the new values", "old records become invalid, and old readers refuse new ones"),
		"leave it as it is, and add a field of another name with the new type")
}

func (c *comparer) record(o, n *lexicon.Record) {
	if o.Key != n.Key {
		c.report(place{o.Node().Get("key"), n.Node().Get("key")}, Wire, "record-key-changed", "the record key type changed from "+o.Key+" to "+n.Key, "existing records have keys that are no longer valid, or new ones have keys that old software refuses", "make a new record type")
	}
	c.schema(o.Object, n.Object)
}

func (c *comparer) permissions(o, n *lexicon.PermissionSet) {
	was, is := grants(o), grants(n)
	for _, g := range sortedKeys(was) {
		if !is[g] {
			c.report(place{o.Node(), n.Node()}, Contract, "permission-removed", "the set no longer grants "+g, "applications lose what their users agreed to", "keep it, or make a new set")
		}
	}
	for _, g := range sortedKeys(is) {
		if !was[g] {
			c.report(place{o.Node(), n.Node()}, Review, "permission-added", "the set now grants "+g+" too", "whoever agreed to the set earlier now grants more", "make sure that title and detail still say what is granted")
		}
	}
}

// grants splits permissions into the smallest things that they grant.
func grants(s *lexicon.PermissionSet) map[string]bool {
	out := map[string]bool{}
	for _, p := range s.Permissions {
		switch p.Resource {
		case "repo":
			actions := p.Actions
			if len(actions) == 0 {
				actions = []string{"create", "update", "delete"}
			}
			for _, col := range p.Collections {
				for _, a := range actions {
					out["repo "+a+" "+col] = true
				}
			}
		case "rpc":
			aud := p.Audience
			if p.InheritAudience {
				aud = "(inherited)"
			}
			for _, m := range p.LXM {
				out["rpc "+m+" at "+aud] = true
			}
		default:
			out[p.Resource+" "+strings.Join(p.Accept, ",")] = true
		}
	}
	return out
}

func sortedKeys(m map[string]bool) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
