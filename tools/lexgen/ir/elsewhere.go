package ir

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

// Elsewhere is a package that lexgen makes of lexicons: from here, or whoever wrote them.
type Elsewhere struct {
	// Has reports whether the package has the types of a lexicon.
	Has func(nsid string) bool
	// Path is its import path, Prefix what its Go names leave out.
	Path, Prefix string
	// KeepAll is that of its own options.
	KeepAll bool
}

// Matches reports whether an NSID is that of a pattern: an NSID, or one with ".*" at its end for
// all that are below it.
func Matches(pattern, nsid string) bool {
	below, group := strings.CutSuffix(pattern, "*")
	return pattern == nsid || group && strings.HasSuffix(below, ".") && strings.HasPrefix(nsid, below)
}

// pack is a package: the one that is made, or one elsewhere. Names are unique in each.
type pack struct {
	path, prefix  string
	keepAll       bool
	names, idents names
	files         map[string]bool
	wrappers      map[*Struct]*Struct
}

// packOf is the package that has the types of a lexicon.
func (b *builder) packOf(f *lexicon.File) *pack {
	path, prefix, keepAll, clash := "", b.opt.Prefix, b.opt.KeepAll, b.clash
	for _, e := range b.opt.Elsewhere {
		if e.Has(f.ID) {
			// Whoever makes that package is told of its clashes.
			path, prefix, keepAll, clash = e.Path, e.Prefix, e.KeepAll, func(string, owner, owner, string) {}
			break
		}
	}
	k := b.packs[path]
	if k == nil {
		k = &pack{
			path: path, prefix: prefix, keepAll: keepAll, files: map[string]bool{}, wrappers: map[*Struct]*Struct{},
			names:  names{taken: map[string]owner{}, renames: b.opt.Policy.Names, clash: clash},
			idents: names{taken: map[string]owner{}, renames: b.opt.Policy.Names, clash: clash},
		}
		for _, fixed := range []string{"Service", "Mount", "Methods", "UnknownVariant", "DecodeRecord"} {
			k.names.take(fixed, owner{place: "the generated " + fixed})
		}
		b.packs[path] = k
	}
	return k
}

// member is the type that stands for a struct in unions of the package.
func (k *pack) member(s *Struct) *Struct {
	if s.Import == k.path {
		return s
	}
	w := k.wrappers[s]
	if w == nil {
		id, def, _ := strings.Cut(s.TypeName, "#")
		name := Base(id, k.prefix)
		if def != "" {
			name += GoName(def)
		}
		w = &Struct{
			GoName: k.names.take(name, owner{place: s.TypeName, lexicon: id, long: longName(id, k.prefix, def)}), Import: k.path,
			Role: s.Role, TypeName: s.TypeName, Ref: s.Ref, Record: s.Record, Schema: s.Schema, Wraps: s,
		}
		k.wrappers[s] = w
	}
	return w
}

// divide leaves in the model what is generated, and of the lexicons of others, in this package and
// elsewhere, what that refers to.
func (b *builder) divide() {
	reached := b.reached()
	own := &Model{Methods: b.model.Methods, ErrorNames: b.model.ErrorNames, Elsewhere: map[string]*Model{}}
	for _, l := range b.model.Lexicons {
		part := *l
		part.Method = nil
		part.Decls = slices.DeleteFunc(slices.Clone(l.Decls), func(d Decl) bool { return !reached[d] })
		switch {
		case !l.File.Dep:
			own.Lexicons = append(own.Lexicons, l)
		case l.Import == "" && len(part.Decls) > 0:
			own.Lexicons = append(own.Lexicons, &part)
		}
		if l.Import == "" || len(part.Decls) == 0 {
			continue
		}
		other := own.Elsewhere[l.Import]
		if other == nil {
			other = &Model{Elsewhere: own.Elsewhere}
			own.Elsewhere[l.Import] = other
		}
		other.Lexicons = append(other.Lexicons, &part)
	}
	own.OpenUnions = openUnions(own.Lexicons)
	for _, m := range own.Elsewhere {
		m.OpenUnions = openUnions(m.Lexicons)
	}
	for path, k := range b.packs {
		m := own
		if path != "" {
			m = own.Elsewhere[path]
		}
		for _, w := range slices.SortedFunc(maps.Values(k.wrappers), func(a, b *Struct) int { return cmp.Compare(a.GoName, b.GoName) }) {
			if reached[w] {
				m.Wrappers = append(m.Wrappers, w)
			}
		}
	}
	b.model = own
}

// reached are the declarations that the lexicons which are generated need, with no others in the
// lists of their unions.
func (b *builder) reached() map[Decl]bool {
	from := map[Decl]*Lexicon{}
	for _, l := range b.model.Lexicons {
		for _, d := range l.Decls {
			from[d] = l
		}
	}
	reached := map[Decl]bool{}
	var visit func(d Decl)
	visit = func(d Decl) {
		reached[d] = true
		for _, to := range needs(d) {
			if to == nil {
				continue
			}
			if here, there := from[d], from[to]; here != nil && there != nil && here.Import != there.Import {
				b.across(here, there, to)
			}
			if !reached[to] {
				visit(to)
			}
		}
	}
	for _, l := range b.model.Lexicons {
		for _, d := range l.Decls {
			if l.Import == "" && !l.File.Dep && !reached[d] && (b.opt.Own == nil || b.opt.Own(l.File.ID)) {
				visit(d)
			}
		}
	}
	for d := range reached {
		if s, ok := d.(*Struct); ok {
			s.Unions = slices.DeleteFunc(s.Unions, func(u *Union) bool { return !reached[u] })
			slices.SortFunc(s.Unions, func(x, y *Union) int { return cmp.Compare(x.GoName, y.GoName) })
		}
	}
	return reached
}

// across reports references from one package to another that Go does not have. What deals with a
// named union stays within its package.
func (b *builder) across(here, there *Lexicon, to Decl) {
	report := func(rule, message, hint string) {
		b.diags = append(b.diags, here.File.Diag(lexicon.Error, nil, rule, message, hint))
	}
	if there.Import == "" {
		report("import-cycle", here.File.ID+" is in the package "+here.Import+" and refers to "+there.File.ID+", which would be in the one that is generated",
			"generate both into one package, or say which package has the second")
	}
	if _, isUnion := to.(*Union); isUnion {
		report("import-union", here.File.ID+" refers to a union of "+there.File.ID+", which is in another package", "generate both into one package")
	}
}

func openUnions(lexicons []*Lexicon) bool {
	return slices.ContainsFunc(lexicons, func(l *Lexicon) bool {
		return slices.ContainsFunc(l.Decls, func(d Decl) bool {
			u, ok := d.(*Union)
			return ok && !u.Closed
		})
	})
}

// needs are the declarations that the code of d cannot do without.
func needs(d Decl) []Decl {
	s, ok := d.(*Struct)
	if !ok {
		return targets(d)
	}
	var out []Decl
	if s.Wraps != nil {
		return []Decl{s.Wraps}
	}
	for _, f := range s.Fields {
		out = append(out, declOf(f.Type))
	}
	return out
}
