package ir

import (
	"cmp"
	"fmt"
	"slices"
)

// Part is the model of those lexicons that keep accepts and no other package has, for a package of
// their own. What remains must not refer to what does not.
func (m *Model) Part(keep func(nsid string) bool) (*Model, error) {
	p := &Model{Wrappers: m.Wrappers, Elsewhere: m.Elsewhere}
	owner := map[Decl]*Lexicon{}
	for _, l := range m.Lexicons {
		for _, d := range l.Decls {
			owner[d] = l
		}
	}
	for _, l := range m.Lexicons {
		if l.Import != "" || !keep(l.File.ID) {
			continue
		}
		p.Lexicons = append(p.Lexicons, l)
		if l.Method != nil {
			p.Methods = append(p.Methods, l.Method)
		}
		for _, d := range l.Decls {
			if u, ok := d.(*Union); ok && !u.Closed {
				p.OpenUnions = true
			}
			for _, target := range targets(d) {
				if to := owner[target]; to != nil && to.Import == "" && !keep(to.File.ID) {
					return nil, fmt.Errorf("%s refers to %s, which would be in another package", l.File.ID, to.File.ID)
				}
			}
		}
	}
	p.ErrorNames = slices.DeleteFunc(slices.Clone(m.ErrorNames), func(e *ErrorName) bool {
		return !slices.ContainsFunc(p.Methods, func(m *Method) bool {
			return slices.ContainsFunc(m.Errors, func(own *MethodError) bool { return own.Name == e.Name })
		})
	})
	if len(p.Lexicons) == 0 {
		return nil, fmt.Errorf("no lexicon is left of %d", len(m.Lexicons))
	}
	slices.SortFunc(p.Methods, func(a, b *Method) int { return cmp.Compare(a.NSID, b.NSID) })
	return p, nil
}

// targets are the declarations that d refers to.
func targets(d Decl) []Decl {
	var out []Decl
	switch d := d.(type) {
	case *Struct:
		for _, f := range d.Fields {
			out = append(out, declOf(f.Type))
		}
		for _, u := range d.Unions {
			out = append(out, u) // it has the union's marker
		}
	case *Union:
		for _, s := range d.Members {
			out = append(out, s)
		}
	case *Slice:
		out = append(out, declOf(d.Elem))
	case *Alias:
		out = append(out, declOf(d.Target))
	case *Enum, *Token, *PermissionSet:
	}
	return out
}

// declOf is the declaration that a type names, or nil.
func declOf(t *Type) Decl {
	switch {
	case t.Enum != nil:
		return t.Enum
	case t.Struct != nil:
		return t.Struct
	case t.Union != nil:
		return t.Union
	case t.Slice != nil:
		return t.Slice
	case t.Elem != nil:
		return declOf(t.Elem)
	}
	return nil
}
