package lint

import "mls-server/tools/lexgen/lexicon"

// recursion reports definitions that no finite value satisfies. A definition is
// finite when all it requires is; the rest of the definitions is what is left
// when no more can be shown to be finite.
func (l *linter) recursion() {
	finite := map[*lexicon.Def]bool{}
	for changed := true; changed; {
		changed = false
		for _, f := range l.set.Files {
			for _, d := range f.Defs {
				if !finite[d] && ends(d.Schema, finite) {
					finite[d], changed = true, true
				}
			}
		}
	}
	for _, f := range l.set.Files {
		if f.Dep {
			continue
		}
		l.f = f
		for _, d := range f.Defs {
			if !finite[d] {
				l.report(d.Schema.Node(), "recursion-infinite", "every value of "+d.Ref()+" would have to contain another one without end", "make a field on the way optional, or an array that may be empty")
			}
		}
	}
}

// ends reports whether some value of s is finite, given the definitions that have one.
func ends(s lexicon.Schema, finite map[*lexicon.Def]bool) bool {
	switch s := s.(type) {
	case *lexicon.Ref:
		return finite[s.Target]
	case *lexicon.Union:
		if !s.Closed {
			return true
		}
		for _, r := range s.Refs {
			if finite[r.Target] {
				return true
			}
		}
		return false
	case *lexicon.Array:
		return s.MinLength == nil || *s.MinLength == 0 || ends(s.Items, finite)
	case *lexicon.Object:
		for _, q := range s.Properties {
			if q.Required && !q.Nullable && !ends(q.Schema, finite) {
				return false
			}
		}
	case *lexicon.Record:
		return ends(s.Object, finite)
	case *lexicon.Method:
		for _, b := range []*lexicon.Body{s.Input, s.Output} {
			if b != nil && b.Schema != nil && !ends(b.Schema, finite) {
				return false
			}
		}
	}
	return true
}
