package lexicon

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options are the switches of Load.
type Options struct {
	// Exclude are patterns of path.Match for files and folders that are not read, by their
	// path in the folder.
	Exclude []string
	// NamedUnions accepts definitions of type union, which some published lexicons
	// have against the specification.
	NamedUnions bool
	// Deps are lexicons of others, as ReadDeps returns them. The set gets those that the folder's
	// own ones refer to. One that has the id of an own lexicon is not read.
	Deps []Source
}

func (o Options) excludes(name string) bool {
	return slices.ContainsFunc(o.Exclude, func(pattern string) bool {
		match, err := path.Match(pattern, name)
		return name == pattern || err == nil && match
	})
}

// Load reads every .json file below the root of fsys, in any order, and returns
// the set of lexicons with all problems, sorted. The set is complete and safe to
// use only when the problems have no errors.
func Load(fsys fs.FS, opt Options) (*Set, Diags, error) {
	sources, err := read(fsys, opt)
	if err != nil {
		return nil, nil, err
	}
	set, diags := Parse(sources, opt)
	return set, diags, nil
}

// ReadDeps reads the lexicons of other people's folders, for Options. A file of an earlier folder
// holds over one with the same id in a later one.
func ReadDeps(dirs []string) ([]Source, error) {
	var all []Source
	for _, dir := range dirs {
		if _, err := os.ReadDir(dir); err != nil {
			return nil, err
		}
		sources, err := read(os.DirFS(dir), Options{})
		if err != nil {
			return nil, err
		}
		for _, s := range sources {
			all = append(all, Source{Path: path.Join(filepath.ToSlash(dir), s.Path), Data: s.Data, dep: true})
		}
	}
	return all, nil
}

// read reads the .json files below the root of fsys.
func read(fsys fs.FS, opt Options) (sources []Source, err error) {
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		out := name != "." && (strings.HasPrefix(d.Name(), ".") || opt.excludes(name))
		switch {
		case d.IsDir() && (out || d.Name() == "node_modules"):
			return fs.SkipDir
		case d.IsDir(), out, path.Ext(name) != ".json":
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sources = append(sources, Source{Path: name, Data: data})
		return nil
	})
	return sources, err
}

// Source is one file to read.
type Source struct {
	// Path is relative to the set's folder, with slashes; that of a lexicon of others begins with
	// its own folder's.
	Path string
	Data []byte

	dep bool
}

// Parse is Load for files that are in memory already.
func Parse(sources []Source, opt Options) (*Set, Diags) {
	set := &Set{byID: map[string]*File{}}
	var diags Diags
	var files []*File
	for _, s := range slices.Concat(sources, opt.Deps) {
		p := &parser{file: &File{Path: s.Path, Dep: s.dep, src: newSource(s.Data)}, opt: opt}
		if p.read(s.Data) {
			files = append(files, p.file)
		}
		diags = append(diags, p.diags...)
	}
	set.add(files, &diags)
	r := &resolver{set: set, opt: opt}
	r.run()
	diags = append(diags, r.diags...)
	if len(opt.Deps) > 0 {
		diags = set.leaveOut(diags)
	}
	diags.Sort()
	return set, diags
}

// parser reads one file.
type parser struct {
	file  *File
	opt   Options
	diags Diags
}

func (p *parser) errorf(n *Node, rule, message, hint string) {
	p.diags = append(p.diags, p.file.Diag(Error, n, rule, message, hint))
}

func (p *parser) warnf(n *Node, rule, message, hint string) {
	p.diags = append(p.diags, p.file.Diag(Warning, n, rule, message, hint))
}

// read returns false when the file is not a lexicon at all.
func (p *parser) read(data []byte) bool {
	root, err := parseJSON(data)
	if err != nil {
		d := p.file.Diag(Error, nil, "json", err.Error(), "")
		if syn, ok := errors.AsType[*syntaxError](err); ok {
			d.Line, d.Col = p.file.src.place(syn.pos)
		}
		p.diags = append(p.diags, d)
		return false
	}
	if root.Kind != '{' || root.Get("lexicon") == nil && root.Get("id") == nil && root.Get("defs") == nil {
		p.diags = append(p.diags, p.file.Diag(Note, root, "not-a-lexicon", "the file is left out: it has no lexicon, id and defs", ""))
		return false
	}
	p.file.root = root
	p.header(root)
	return true
}

func (p *parser) header(root *Node) {
	o := p.object(root, "lexicon", "id", "revision", "description", "defs", "$type")
	switch v := o.get("lexicon"); {
	case v == nil:
		p.errorf(root, "lexicon-version", `the member "lexicon" is missing`, `add "lexicon": 1`)
	case v.Kind != '0' || v.Text != "1":
		p.errorf(v, "lexicon-version", `"lexicon" must be the number 1, the only version of the language`, `write "lexicon": 1`)
	}
	if v := o.get("revision"); v != nil && v.Kind != '0' {
		p.errorf(v, "type", `"revision" must be a number, not `+v.describe(), "")
	}
	p.file.Description = o.str("description")
	switch v := o.get("id"); {
	case v == nil:
		p.errorf(root, "id-missing", `the member "id" is missing`, `add the NSID of the lexicon, for example "id": "`+idFromPath(p.file.Path)+`"`)
	case v.Kind != '"':
		p.errorf(v, "id-syntax", `"id" must be a string with an NSID, not `+v.describe(), "")
	default:
		p.id(v)
	}
	defs := o.get("defs")
	if defs == nil {
		p.errorf(root, "defs-missing", `the member "defs" is missing`, `add "defs": {"main": {…}}`)
		return
	}
	p.defs(defs)
}

func (p *parser) id(v *Node) {
	if problem := nsidProblem(v.Text); problem != "" {
		p.errorf(v, "id-syntax", "the id is not a valid NSID: "+problem, "an NSID is a reversed domain name and a name, for example com.example.getThing")
		return
	}
	p.file.ID = v.Text
	if !pathMatches(p.file.Path, v.Text) {
		p.warnf(v, "id-path", "the path of the file does not spell the id "+v.Text+", which alone counts", "the usual place is "+strings.ReplaceAll(v.Text, ".", "/")+".json")
	}
}

// idFromPath is the id that a file of the path should have.
func idFromPath(name string) string {
	return strings.ReplaceAll(strings.TrimSuffix(name, ".json"), "/", ".")
}

// pathMatches reports whether the file's path mirrors its id: com/example/getThing.json,
// with leading folders left out or added, or the id as one file name.
func pathMatches(name, id string) bool {
	fromPath := "." + idFromPath(name)
	if strings.HasSuffix(fromPath, "."+id) || strings.HasSuffix("."+id, fromPath) {
		return true
	}
	base := strings.TrimSuffix(path.Base(name), ".json")
	flat := strings.NewReplacer("_", ".", "-", ".").Replace(base)
	return flat == strings.ReplaceAll(id, "-", ".")
}

func (p *parser) defs(n *Node) {
	if n.Kind != '{' {
		p.errorf(n, "type", `"defs" must be an object, not `+n.describe(), "")
		return
	}
	if len(n.Members) == 0 {
		p.errorf(n, "defs-empty", `"defs" must have at least one definition`, "")
	}
	for _, m := range n.Members {
		p.def(m)
	}
}

func (p *parser) def(m Member) {
	if m.Name == "" || strings.ContainsFunc(m.Name, func(r rune) bool { return r == '#' || Unprintable(r) || r == ' ' }) {
		p.errorf(m.Value, "def-name", "the name of a definition must not be empty and must not have spaces, controls or #", "use letters and digits, starting with a letter")
		return
	}
	if !plainName(m.Name) {
		p.warnf(m.Value, "def-name", "the definition's name should have only ASCII letters and digits and start with a letter", "")
	}
	if p.unknownPrimary(m) {
		return
	}
	s := p.schema(m.Value, "a definition")
	if s == nil {
		return
	}
	switch k := s.Kind(); {
	case k == KindSpace:
		p.leaveOut(m.Name, string(k))
		p.diags = append(p.diags, p.file.Diag(Note, m.Value, "space", `the definition is left out: the type "space" is a proposal`, ""))
		return
	case k.Primary() && m.Name != "main":
		p.errorf(m.Value, "primary-not-main", `a definition of type "`+string(k)+`" must be named "main"`, "put it into a file of its own")
		return
	case k == KindUnion && p.opt.NamedUnions:
	case k == KindRef, k == KindUnion, k == KindUnknown, k == KindParams, k == KindPermission:
		hint := "write it where it is used"
		if k == KindUnion {
			hint += ", or run with --compat named-unions"
		}
		p.errorf(m.Value, "not-definable", `the type "`+string(k)+`" cannot be a definition of its own`, hint)
		return
	}
	p.file.Defs = append(p.file.Defs, &Def{Name: m.Name, Schema: s, File: p.file})
}

// unknownPrimary leaves a main definition of a type out that the language did not have when this
// was written. A word that is nearly a type is taken for a slip.
func (p *parser) unknownPrimary(m Member) bool {
	t := m.Value.Get("type")
	if m.Name != "main" || t == nil || t.Kind != '"' || slices.Contains(allKinds, t.Text) || typeHint(t.Text) != typesHint {
		return false
	}
	p.leaveOut(m.Name, t.Text)
	p.warnf(t, "type-unknown", "the definition is left out: the type "+strconv.Quote(t.Text)+" is not known", typesHint)
	return true
}

// leaveOut notes that the file has a definition which nothing is made of.
func (p *parser) leaveOut(name, kind string) {
	if p.file.leftOut == nil {
		p.file.leftOut = map[string]string{}
	}
	p.file.leftOut[name] = kind
}

func plainName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != ""
}
