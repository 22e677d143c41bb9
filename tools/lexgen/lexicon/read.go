package lexicon

import (
	"errors"
	"io/fs"
	"path"
	"strings"
)

// Options are the switches of Load.
type Options struct {
	// Exclude is a path in the folder that is not a lexicon, or "".
	Exclude string
	// NamedUnions accepts definitions of type union, which some published lexicons
	// have against the specification.
	NamedUnions bool
}

// Load reads every .json file below the root of fsys, in any order, and returns
// the set of lexicons with all problems, sorted. The set is complete and safe to
// use only when the problems have no errors.
func Load(fsys fs.FS, opt Options) (*Set, Diags, error) {
	var sources []Source
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name != "." && strings.HasPrefix(d.Name(), ".") || d.Name() == "node_modules" {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".json" || name == opt.Exclude || strings.HasPrefix(d.Name(), ".") {
			return nil
		}
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		sources = append(sources, Source{Path: name, Data: data})
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	set, diags := Parse(sources, opt)
	return set, diags, nil
}

// Source is one file to read.
type Source struct {
	// Path is relative to the set's folder, with slashes.
	Path string
	Data []byte
}

// Parse is Load for files that are in memory already.
func Parse(sources []Source, opt Options) (*Set, Diags) {
	set := &Set{byID: map[string]*File{}}
	var diags Diags
	var files []*File
	for _, s := range sources {
		p := &parser{file: &File{Path: s.Path, src: newSource(s.Data)}, opt: opt}
		if p.read(s.Data) {
			files = append(files, p.file)
		}
		diags = append(diags, p.diags...)
	}
	set.add(files, &diags)
	r := &resolver{set: set, opt: opt}
	r.run()
	diags = append(diags, r.diags...)
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
	switch {
	case pathMatches(p.file.Path, v.Text):
	case !pathNames(p.file.Path, v.Text):
		p.warnf(v, "id-path", "the path says nothing about the id "+v.Text, "the usual place is "+strings.ReplaceAll(v.Text, ".", "/")+".json")
	default:
		want := strings.ReplaceAll(v.Text, ".", "/") + ".json"
		p.errorf(v, "id-path", "the id "+v.Text+" does not belong to a file of this path", "move the file to "+want+", or correct the id (the path says "+idFromPath(p.file.Path)+")")
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

// pathNames reports whether the path spells out an id, right or wrong: whether it has
// the id's top-level domain as a folder or at the start of a dotted file name. Some
// projects leave the domain out and arrange their folders as they like; nothing in the
// language forbids that.
func pathNames(name, id string) bool {
	top, _, _ := strings.Cut(id, ".")
	return strings.Contains("."+idFromPath(name)+".", "."+top+".")
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
	if m.Name == "" || strings.ContainsFunc(m.Name, func(r rune) bool { return r == '#' || r == '.' || Unprintable(r) || r == ' ' }) {
		p.errorf(m.Value, "def-name", "the name of a definition must not be empty and must not have spaces, controls, dots or #", "use letters and digits, starting with a letter")
		return
	}
	if !plainName(m.Name) {
		p.warnf(m.Value, "def-name", "the definition's name should have only ASCII letters and digits and start with a letter", "")
	}
	s := p.schema(m.Value, "a definition")
	if s == nil {
		return
	}
	switch k := s.Kind(); {
	case k == KindSpace:
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

func plainName(s string) bool {
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < 'a' || c > 'z') && (i == 0 || s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != ""
}
