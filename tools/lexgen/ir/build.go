package ir

import (
	"cmp"
	"slices"
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

// Options choose the names.
type Options struct {
	// Prefix is the part of the NSIDs that Go names leave out, without the last dot.
	Prefix string
	Policy *Policy
	// Elsewhere are packages that lexgen makes of some of the lexicons. The first that has a
	// lexicon counts.
	Elsewhere []Elsewhere
	// KeepAll says that the package is for others too, whose records may have any of its objects.
	KeepAll bool
	// Own reports whether the package has a lexicon of the folder; nil means that it has all.
	Own func(nsid string) bool
}

// Build makes the model of a set without errors. It may find more problems; the
// model is usable when none of them is an error.
func Build(set *lexicon.Set, opt Options) (*Model, lexicon.Diags) {
	b := &builder{
		set: set, opt: opt, model: &Model{}, byDef: map[*lexicon.Def]*Type{}, byFile: map[*lexicon.File]*Lexicon{}, packs: map[string]*pack{},
	}
	if b.opt.Policy == nil {
		b.opt.Policy = &Policy{}
	}
	b.run()
	b.diags.Sort()
	return b.model, b.diags
}

type builder struct {
	set    *lexicon.Set
	opt    Options
	model  *Model
	packs  map[string]*pack // by import path, "" for the one that is made
	byDef  map[*lexicon.Def]*Type
	byFile map[*lexicon.File]*Lexicon
	// file and ref are the definition that is being built.
	file  *lexicon.File
	cur   *Lexicon
	def   *lexicon.Def
	diags lexicon.Diags
	todo  []func()
}

// clash reports two owners of one name. Within a lexicon the second is called by a longer name. Of
// two lexicons neither gets it: a name must not move because a file was added.
func (b *builder) clash(name string, first, second owner, got string) {
	if first.apart(second) {
		b.diags = append(b.diags, b.file.Diag(lexicon.Error, nil, "name-collision",
			"the Go name "+name+" would stand for both "+first.place+" and "+second.place,
			`give one of them another name in the policy file: "names": {"`+second.place+`": "…"}`))
		return
	}
	b.diags = append(b.diags, b.file.Diag(lexicon.Warning, nil, "name-collision",
		"the Go name "+name+" would stand for both "+first.place+" and "+second.place+"; the second is called "+got,
		`to choose another name add it to the policy file: "names": {"`+second.place+`": "…"}`))
}

func (b *builder) run() {
	for _, f := range b.set.Files {
		b.file = f
		k := b.packOf(f)
		ident := k.idents.take(Base(f.ID, k.prefix), owner{place: f.ID, lexicon: f.ID, long: longName(f.ID, k.prefix)})
		l := &Lexicon{File: f, Import: k.path, Ident: ident, GoFile: goFile(f.ID, k.prefix, k.files), pack: k}
		b.model.Lexicons = append(b.model.Lexicons, l)
		b.byFile[f] = l
	}
	// Main definitions come first, so that a definition's name never pushes a file's away.
	b.eachDef(true, b.declare)
	b.eachDef(false, b.declare)
	for len(b.todo) > 0 {
		todo := b.todo
		b.todo = nil
		for _, f := range todo {
			f()
		}
	}
	b.breakCycles()
	b.keepUnknown()
	b.finish()
	b.divide()
}

func (b *builder) eachDef(main bool, f func(*lexicon.Def)) {
	for _, l := range b.model.Lexicons {
		defs := slices.Clone(l.File.Defs)
		slices.SortFunc(defs, func(x, y *lexicon.Def) int { return cmp.Compare(x.Name, y.Name) })
		for _, d := range defs {
			if (d.Name == "main") == main {
				b.enter(d)
				f(d)
			}
		}
	}
}

func (b *builder) enter(d *lexicon.Def) {
	b.def, b.file, b.cur = d, d.File, b.byFile[d.File]
}

// later runs f with the present definition when all definitions have their names.
func (b *builder) later(f func()) {
	d := b.def
	b.todo = append(b.todo, func() {
		b.enter(d)
		f()
	})
}

// goFile is a file name made of the NSID's parts in lower case. Names with a
// meaning for the go tool (_test, _linux …) and clashes get a suffix.
func goFile(nsid, prefix string, taken map[string]bool) string {
	rest := nsid
	if cut, ok := strings.CutPrefix(nsid, prefix+"."); ok && prefix != "" {
		rest = cut
	}
	name := strings.ReplaceAll(strings.ReplaceAll(strings.ToLower(rest), "-", ""), ".", "_")
	last := name[strings.LastIndexByte(name, '_')+1:]
	if name == "" || slices.Contains(reservedFiles, name) || name != last && slices.Contains(reservedSuffixes, last) {
		name += "_lexicon"
	}
	for taken[name] {
		name += "x"
	}
	taken[name] = true
	return name + ".go"
}

var (
	reservedFiles = []string{"methods", "records", "service", "mount", "errors", "union", "imports", "fakes", "client"}
	// reservedSuffixes have a meaning for the go tool at the end of a file name (go help
	// buildconstraint).
	reservedSuffixes = strings.Fields("test aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris wasip1 windows zos " +
		"386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm")
)

func (b *builder) name(parts ...string) string {
	var s strings.Builder
	s.WriteString(b.cur.Ident)
	for _, p := range parts {
		s.WriteString(p)
	}
	place := b.def.Ref()
	if path := strings.Join(parts, "."); path != "" {
		place += " (" + path + ")"
	}
	return b.cur.pack.names.take(s.String(), owner{place: place, lexicon: b.file.ID, long: longName(b.file.ID, b.cur.pack.prefix, parts...)})
}

// defName is the name of the present definition, where main has none of its own.
func (b *builder) defName() string {
	d := b.def
	if d.Name == "main" {
		return b.cur.pack.names.take(b.cur.Ident, owner{place: d.Ref(), lexicon: b.file.ID, long: longName(b.file.ID, b.cur.pack.prefix)})
	}
	return b.cur.pack.names.take(b.cur.Ident+GoName(d.Name), owner{place: d.Ref(), lexicon: b.file.ID, long: longName(b.file.ID, b.cur.pack.prefix, d.Name)})
}

func (b *builder) add(d Decl) {
	switch d := d.(type) {
	case *Struct:
		d.Import = b.cur.Import
	case *Union:
		d.Import = b.cur.Import
	case *Slice:
		d.Import = b.cur.Import
	case *Enum:
		d.Import = b.cur.Import
	case *Token, *Alias, *PermissionSet:
	}
	b.cur.Decls = append(b.cur.Decls, d)
}

// declare gives a definition its name and type; fields follow later.
func (b *builder) declare(d *lexicon.Def) {
	if b.file.Dep && d.Schema.Kind().Primary() && d.Schema.Kind() != lexicon.KindRecord {
		return // nothing can refer to it
	}
	switch s := d.Schema.(type) {
	case *lexicon.Object:
		b.byDef[d] = b.structType(b.defName(), RoleObject, d.Ref(), "", s.Description, s)
	case *lexicon.Record:
		t := b.structType(b.defName(), RoleRecord, d.Ref(), "", cmp.Or(s.Description, s.Object.Description), s.Object)
		t.Struct.Record = s
		t.Struct.Collection, t.Struct.KeyName = b.helper(t.Struct.GoName+"Collection"), b.helper(t.Struct.GoName+"Key")
		b.byDef[d] = t
	case *lexicon.Array:
		slice := &Slice{GoName: b.defName(), Doc: s.Description, Ref: d.Ref(), Schema: s}
		slice.Func = b.helper("Lex" + slice.GoName)
		b.add(slice)
		b.byDef[d] = &Type{Kind: SliceKind, Schema: s, Slice: slice}
		b.later(func() { slice.Elem = b.typeOf(s.Items, slice.GoName+"Item", "item") })
	case *lexicon.Union:
		b.byDef[d] = b.unionType(b.defName(), "", s)
	case *lexicon.Token:
		b.add(&Token{GoName: b.defName(), Value: d.Ref(), Doc: s.Description})
	case *lexicon.PermissionSet:
		name := b.defName()
		b.add(&PermissionSet{GoName: name, LXM: b.helper(name + "LXM"), ID: d.Ref(), Schema: s})
	case *lexicon.Method:
		b.method(s)
	default:
		b.scalarDef(d)
	}
}

// scalarDef declares a named string, integer and the like: an enum is a type of
// its own, everything else an alias, and its constraints go where it is used.
func (b *builder) scalarDef(d *lexicon.Def) {
	name := b.defName()
	t := b.scalar(d.Schema, name, "")
	b.byDef[d] = t
	if t.Enum == nil {
		b.add(&Alias{GoName: name, Doc: d.Schema.Doc(), Target: t})
	}
}

func (b *builder) structType(name string, role Role, typeName, path, doc string, s *lexicon.Object) *Type {
	st := &Struct{GoName: name, Role: role, TypeName: typeName, Ref: b.def.Ref(), Path: path, Doc: doc, Schema: s}
	b.add(st)
	b.later(func() { b.fields(st, s) })
	return &Type{Kind: StructKind, Schema: s, Struct: st}
}

// methodNames are what generated methods are called, so that no field can be.
var methodNames = []string{"AppendJSON", "MarshalJSON", "UnmarshalJSON", "Validate", "DecodeQuery", "EncodeQuery", "Lex", "LexType"}

func (b *builder) fields(st *Struct, s *lexicon.Object) {
	used := local{}
	for _, m := range methodNames {
		used[m] = true
	}
	for _, q := range s.Properties {
		f := &Field{Name: q.Name, GoName: used.take(GoName(q.Name)), Required: q.Required, Nullable: q.Nullable}
		path := q.Name
		if st.Path != "" {
			path = st.Path + "." + q.Name
		}
		f.Type = b.typeOf(q.Schema, st.GoName+GoName(q.Name), path)
		f.Mode = fieldMode(f)
		st.Fields = append(st.Fields, f)
	}
}

func fieldMode(f *Field) Mode {
	switch {
	case f.Nullable && !f.Required:
		return OptNull
	case f.Type.NilAble():
		return Nil
	case f.Nullable, !f.Required && !HasDefault(f.Type):
		return Pointer
	}
	return Plain
}

// HasDefault reports whether a value of the type has a default.
func HasDefault(t *Type) bool {
	switch s := t.Schema.(type) {
	case *lexicon.Boolean:
		return s.Default != nil
	case *lexicon.Integer:
		return s.Default != nil
	case *lexicon.String:
		return s.Default != nil
	}
	return false
}

// typeOf is the type of a field, an item or a body; name is for what it declares.
func (b *builder) typeOf(s lexicon.Schema, name, path string) *Type {
	switch s := s.(type) {
	case *lexicon.Ref:
		return b.byDef[s.Target]
	case *lexicon.Array:
		return &Type{Kind: Array, Schema: s, Elem: b.typeOf(s.Items, name+"Item", path+".item")}
	case *lexicon.Object:
		return b.structType(b.inlineName(name, path), RoleObject, "", path, s.Description, s)
	case *lexicon.Union:
		return b.unionType(b.inlineName(name, path), path, s)
	}
	return b.scalar(s, name, path)
}

func (b *builder) inlineName(name, path string) string {
	return b.cur.pack.names.take(name, owner{place: b.def.Ref() + " at " + path, lexicon: b.file.ID, long: longName(b.file.ID, b.cur.pack.prefix, append([]string{b.def.Name}, strings.Split(path, ".")...)...)})
}

func (b *builder) scalar(s lexicon.Schema, name, path string) *Type {
	t := &Type{Schema: s}
	switch s := s.(type) {
	case *lexicon.Boolean:
		t.Kind = Bool
	case *lexicon.Integer:
		t.Kind = Int
		if len(s.Enum) > 0 {
			t.Enum = b.enum(name, path, s)
			used := local{}
			for _, v := range s.Enum {
				t.Enum.Values = append(t.Enum.Values, EnumValue{GoName: used.take(intName(v)), Int: v})
			}
		}
	case *lexicon.String:
		t.Kind = String
		values := s.Enum
		if values == nil {
			values = s.KnownValues
		}
		if len(values) > 0 {
			t.Enum = b.enum(name, path, s)
			t.Enum.Closed = s.Enum != nil
			used := local{}
			for _, v := range values {
				t.Enum.Values = append(t.Enum.Values, EnumValue{GoName: used.take(valueName(v)), Text: v})
			}
		}
	case *lexicon.Bytes:
		t.Kind = Bytes
	case *lexicon.CIDLink:
		t.Kind = CID
	case *lexicon.Blob:
		t.Kind = Blob
	case *lexicon.Unknown:
		t.Kind = Unknown
	}
	return t
}

func (b *builder) enum(name, path string, s lexicon.Schema) *Enum {
	if path != "" {
		name = b.inlineName(name, path)
	}
	_, isInt := s.(*lexicon.Integer)
	e := &Enum{GoName: name, Doc: s.Doc(), Ref: b.def.Ref(), Path: path, Int: isInt, Closed: isInt, Schema: s}
	b.add(e)
	return e
}

func intName(v int64) string {
	name := GoName(strings.ReplaceAll(itoa(v), "-", "minus"))
	return strings.TrimPrefix(name, "N")
}

// valueName is the constant's part of a name; a token's is its fragment.
func valueName(v string) string {
	if v == "" {
		return "Empty"
	}
	if id, frag, ok := strings.Cut(v, "#"); ok && frag != "" && strings.Contains(id, ".") {
		v = frag
	}
	if v[0] == '-' {
		v = "minus" + v
	}
	return GoName(v)
}

func (b *builder) unionType(name, path string, s *lexicon.Union) *Type {
	u := &Union{GoName: name, Doc: s.Description, Ref: b.def.Ref(), Path: path, Closed: s.Closed, Schema: s}
	b.add(u)
	if !u.Closed {
		b.model.OpenUnions = true
	}
	b.later(func() {
		for _, r := range s.Refs {
			m := b.cur.pack.member(b.byDef[r.Target].Struct)
			u.Members = append(u.Members, m)
			m.Unions = append(m.Unions, u)
		}
	})
	return &Type{Kind: UnionKind, Schema: s, Union: u}
}
