package lexicon

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"mls-server/lexrt"
)

// nsidProblem says why s is not an NSID, or "".
func nsidProblem(s string) string {
	switch {
	case lexrt.FormatNSID.Valid(s):
		return ""
	case s == "":
		return "it is empty"
	case strings.Count(s, ".") < 2:
		return "it needs at least three parts with dots between them"
	case len(s) > 317:
		return "it is longer than 317 characters"
	}
	parts := strings.Split(s, ".")
	for i, part := range parts {
		switch {
		case part == "":
			return "it has an empty part"
		case i == len(parts)-1 && !plainName(part):
			return "the last part " + strconv.Quote(part) + " may have only letters and digits and must start with a letter"
		case len(part) > 63:
			return "the part " + strconv.Quote(part[:16]+"…") + " is longer than 63 characters"
		}
	}
	return "it has characters that a domain name cannot have"
}

// Set is a set of lexicons that refer to each other.
type Set struct {
	// Files are sorted by id.
	Files []*File
	byID  map[string]*File
}

// File returns the lexicon of the id or nil.
func (s *Set) File(id string) *File { return s.byID[id] }

func (s *Set) add(files []*File, diags *Diags) {
	slices.SortStableFunc(files, func(a, b *File) int {
		switch {
		case a.ID == b.ID && a.Dep != b.Dep:
			return map[bool]int{false: -1, true: 1}[a.Dep]
		case a.Dep && b.Dep:
			return cmp.Compare(a.ID, b.ID) // in the order of their folders
		}
		return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Path, b.Path))
	})
	for _, f := range files {
		if f.ID == "" {
			continue // reported
		}
		switch first := s.byID[f.ID]; {
		case first != nil && f.Dep:
			continue
		case first != nil:
			*diags = append(*diags, f.Diag(Error, f.root.Get("id"), "id-duplicate", "the id "+f.ID+" is already that of "+first.Path, "one lexicon has one file; remove or rename one"))
			continue
		}
		s.byID[f.ID] = f
		s.Files = append(s.Files, f)
	}
}

// resolver binds references and checks what needs more than one file.
type resolver struct {
	set   *Set
	opt   Options
	file  *File
	diags Diags
}

func (r *resolver) run() {
	for _, f := range r.set.Files {
		r.file = f
		for _, d := range f.Defs {
			Walk(d.Schema, r.visit)
			r.message(d)
		}
	}
}

// message checks that the messages of a subscription are a union where they are a reference.
func (r *resolver) message(d *Def) {
	m, ok := d.Schema.(*Method)
	if !ok {
		return
	}
	if ref, ok := m.Message.(*Ref); ok && ref.Target != nil && ref.Target.Schema.Kind() != KindUnion {
		r.errorf(ref.node, "message-type", "the schema of a message must be a union, and "+ref.Target.Ref()+" is of type "+strconv.Quote(string(ref.Target.Schema.Kind())), `write {"type": "union", "refs": […]}`)
	}
}

func (r *resolver) errorf(n *Node, rule, message, hint string) {
	r.diags = append(r.diags, r.file.Diag(Error, n, rule, message, hint))
}

func (r *resolver) visit(s Schema) {
	switch s := s.(type) {
	case *Ref:
		r.bind(s)
		if s.Target != nil {
			r.refTarget(s)
		}
	case *Union:
		r.union(s)
	case *PermissionSet:
		for _, perm := range s.Permissions {
			r.named(perm.node.Get("lxm"), "permission-lxm", "method", KindQuery, KindProcedure, KindSubscription)
			r.named(perm.node.Get("collection"), "permission-collection", "collection", KindRecord)
		}
	}
}

// named checks what a permission names, as far as it is in the set: a permission may
// well be for methods and collections that are defined elsewhere.
func (r *resolver) named(list *Node, rule, what string, kinds ...Kind) {
	if list == nil {
		return
	}
	for _, n := range list.Items {
		f := r.set.byID[n.Text]
		switch {
		case n.Text == "*" || n.Kind != '"' || nsidProblem(n.Text) != "":
		case f == nil && r.siblings(n.Text):
			r.diags = append(r.diags, r.file.Diag(Warning, n, rule, "there is no "+what+" "+n.Text+" in this folder", r.nearID(n.Text, kinds)))
		case f != nil && (f.Main() == nil || !slices.Contains(kinds, f.Main().Schema.Kind())):
			r.errorf(n, rule, n.Text+" is not a "+what, "")
		}
	}
}

// siblings reports whether the set has lexicons of the same group as the id.
func (r *resolver) siblings(id string) bool {
	group := id[:strings.LastIndexByte(id, '.')+1]
	return slices.ContainsFunc(r.set.Files, func(f *File) bool { return strings.HasPrefix(f.ID, group) && f != r.file })
}

func (r *resolver) nearID(id string, kinds []Kind) string {
	var ids []string
	for _, f := range r.set.Files {
		if main := f.Main(); main != nil && slices.Contains(kinds, main.Schema.Kind()) {
			ids = append(ids, f.ID)
		}
	}
	if near := Nearest(id, ids); near != "" {
		return "did you mean " + strconv.Quote(near) + "?"
	}
	return "correct the name, or add the lexicon"
}

func (r *resolver) bind(s *Ref) {
	id, frag, has := strings.Cut(s.Ref, "#")
	if id == "" {
		id = r.file.ID
	}
	if !has {
		frag = "main"
	}
	at := s.node
	if ref := at.Get("ref"); ref != nil {
		at = ref
	}
	f := r.set.byID[id]
	if f == nil {
		var ids []string
		for _, other := range r.set.Files {
			ids = append(ids, other.ID)
		}
		hint := "add its file to the folder, name a folder that has it with --deps, or correct the reference"
		if near := Nearest(id, ids); near != "" {
			hint = "did you mean " + strconv.Quote(near) + "? Otherwise add its file to the folder, or name a folder that has it with --deps"
		}
		r.errorf(at, "ref-unknown", "the reference "+strconv.Quote(s.Ref)+" names a lexicon that is not in the folder: "+id, hint)
		return
	}
	if s.Target = f.Def(frag); s.Target != nil {
		return
	}
	if kind, left := f.leftOut[frag]; left {
		r.errorf(at, "ref-target", "the reference "+strconv.Quote(s.Ref)+" names a definition of type "+strconv.Quote(kind)+", which is left out ("+f.Path+")", "")
		return
	}
	if n := f.root.Get("defs"); n.Get(frag) != nil {
		return // reported where it is defined
	}
	var names []string
	for _, d := range f.Defs {
		names = append(names, d.Name)
	}
	hint := "it has " + strings.Join(names, ", ")
	if near := Nearest(frag, names); near != "" {
		hint = "did you mean " + strconv.Quote(strings.TrimSuffix(s.Ref, "#"+frag)+"#"+near) + "?"
	}
	r.errorf(at, "ref-unknown", "the reference "+strconv.Quote(s.Ref)+" names a definition that "+f.ID+" does not have", hint)
}

func (r *resolver) refTarget(s *Ref) {
	k := s.Target.Schema.Kind()
	hint := ""
	switch {
	case k == KindToken:
		hint = `use a string with the token's full name under "knownValues"`
	case k == KindUnion && r.opt.NamedUnions:
		return
	case k == KindRef, k == KindUnion, k == KindParams, k == KindUnknown:
	case k.Primary() && k != KindRecord:
	default:
		return
	}
	at := s.node
	if ref := at.Get("ref"); ref != nil {
		at = ref
	}
	r.errorf(at, "ref-target", "the reference "+strconv.Quote(s.Ref)+" names a definition of type "+strconv.Quote(string(k))+", which cannot be referred to ("+s.Target.File.Path+")", hint)
}

func (r *resolver) union(s *Union) {
	seen := map[*Def]bool{}
	refs := s.Refs
	s.Refs = nil
	for _, m := range refs {
		r.bind(m)
		if m.Target == nil {
			continue
		}
		if seen[m.Target] {
			r.diags = append(r.diags, r.file.Diag(Warning, m.node, "union-duplicate", "the union names "+m.Target.Ref()+" twice", "remove one"))
			continue
		}
		seen[m.Target] = true
		s.Refs = append(s.Refs, m)
		if k := m.Target.Schema.Kind(); k != KindObject && k != KindRecord {
			hint := "only these have a $type to tell the members apart by; wrap the value into an object"
			if k == KindToken {
				hint = `use a string with the tokens' full names under "knownValues"`
			}
			r.errorf(m.node, "union-member", "a member of a union must be an object or a record, and "+m.Target.Ref()+" is of type "+strconv.Quote(string(k)), hint)
		}
	}
}

// Walk calls visit for s and every schema inside it, in the file's order. The
// members of a union are not visited: they are references.
func Walk(s Schema, visit func(Schema)) {
	if s == nil {
		return
	}
	visit(s)
	switch s := s.(type) {
	case *Array:
		Walk(s.Items, visit)
	case *Object:
		for _, q := range s.Properties {
			Walk(q.Schema, visit)
		}
	case *Record:
		Walk(s.Object, visit)
	case *Method:
		if s.Params != nil {
			Walk(s.Params, visit)
		}
		for _, b := range []*Body{s.Input, s.Output} {
			if b != nil {
				Walk(b.Schema, visit)
			}
		}
		Walk(s.Message, visit)
	}
}
