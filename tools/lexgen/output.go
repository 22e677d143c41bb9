package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"mls-server/tools/lexgen/client"
	"mls-server/tools/lexgen/docs"
	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/openapi"
)

// folder is where lexgen writes.
type folder struct {
	dir string
	// ours reports whether lexgen wrote a file.
	ours func(name string, data []byte) bool
	// exclusive means that no other Go file may be in the folder: it is a package that is
	// generated as a whole.
	exclusive bool
}

// output is the set of files that a folder must have.
type output struct {
	folder

	files []emit.File
}

// generator makes the files of one folder. The model is all that they depend on.
type generator struct {
	folder

	make func(*ir.Model) ([]emit.File, error)
	// whole generators get all lexicons, the others those of --only or --without.
	whole bool
}

// generators are the outputs that the command line asks for.
func (c *genConfig) generators() []generator {
	all := []generator{{folder{c.out, isGo, true}, c.serverFiles, false}}
	if c.fakes {
		all = append(all, generator{folder{filepath.Join(c.out, c.fakesPackage()), isGo, true}, c.fakeFiles, false})
	}
	if c.reference.docs != "" {
		all = append(all, generator{folder{c.reference.docs, isPage, false}, c.pages, true})
	}
	if c.reference.openapi != "" {
		dir, name := filepath.Split(c.reference.openapi)
		all = append(all, generator{folder{cmp.Or(dir, "."), func(have string, _ []byte) bool { return have == name }, false}, c.openapiFile, true})
	}
	if c.reference.client != "" {
		all = append(all, generator{folder{c.reference.client, isGo, false}, c.clientFiles, false})
	}
	return all
}

// outputs makes all files.
func (c *genConfig) outputs(m *ir.Model) ([]output, error) {
	part, err := c.part(m)
	if err != nil {
		return nil, err
	}
	var out []output
	for _, g := range c.generators() {
		from := part
		if g.whole {
			from = c.whole
		}
		files, err := g.make(from)
		if err != nil {
			return nil, err
		}
		out = append(out, output{g.folder, files})
	}
	return out, nil
}

func isGo(name string, data []byte) bool {
	return filepath.Ext(name) == ".go" && bytes.HasPrefix(data, []byte("// "+emit.Header))
}

func isPage(name string, data []byte) bool {
	ext := filepath.Ext(name)
	return (ext == ".md" || ext == ".html") && bytes.Contains(data[:min(len(data), 200)], []byte(docs.Header))
}

func (c *genConfig) serverFiles(m *ir.Model) ([]emit.File, error) {
	files, err := emit.Package(m, c.emitOptions())
	if err != nil {
		return nil, err
	}
	size := 0
	for _, f := range files {
		size += len(f.Data)
	}
	return files, emit.TypeCheck(m, files, c.emitOptions(), c.verify || size <= bodiesLimit)
}

// bodiesLimit is the size in bytes of a package up to which the bodies of its
// functions are type-checked in every run. That takes some 100 ms for each MiB.
const bodiesLimit = 1 << 20

// fakesPackage is the name of the package for tests and of its folder.
func (c *genConfig) fakesPackage() string { return c.pkg + "fake" }

func (c *genConfig) fakeFiles(m *ir.Model) ([]emit.File, error) {
	f, err := emit.Fakes(m, c.emitOptions(), c.fakesPackage(), c.module+"/"+c.fakesPackage())
	return []emit.File{f}, err
}

// title is the name of the service in reference pages.
func (c *genConfig) title() string { return cmp.Or(c.reference.title, c.prefix, "API") }

func (c *genConfig) pages(m *ir.Model) ([]emit.File, error) {
	return docs.Files(m, docs.Options{Title: c.title(), Prefix: c.prefix, Policy: c.parsedPolicy})
}

func (c *genConfig) openapiFile(m *ir.Model) ([]emit.File, error) {
	data, err := openapi.Document(m, openapi.Options{Title: c.title(), Policy: c.parsedPolicy})
	return []emit.File{{Name: filepath.Base(c.reference.openapi), Data: data}}, err
}

func (c *genConfig) clientFiles(m *ir.Model) ([]emit.File, error) {
	return client.Files(m, client.Options{
		Package: c.reference.clientPackage, Types: c.module, TypesPackage: c.pkg, Runtime: c.runtime,
		ClientRuntime: cmp.Or(c.reference.clientRuntime, c.runtime+"/lexclient"),
	})
}

// existing returns the files in the folder that lexgen wrote, and the names of the Go files in
// an exclusive folder that it did not write, sorted. The folder need not exist.
func (f *folder) existing() (own map[string][]byte, strays []string, err error) {
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	own = map[string][]byte{}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || !slices.Contains([]string{".go", ".md", ".html", ".json"}, ext) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(f.dir, e.Name()))
		if err != nil {
			return nil, nil, err
		}
		switch {
		case f.ours(e.Name(), data):
			own[e.Name()] = data
		case f.exclusive && ext == ".go":
			strays = append(strays, e.Name())
		}
	}
	return own, strays, nil
}

// path names a file of the folder in messages.
func (f *folder) path(name string) string { return filepath.ToSlash(filepath.Join(f.dir, name)) }

// writeAll writes the outputs and warns of files that do not belong there.
func writeAll(outputs []output, errs io.Writer) (changed int, err error) {
	for i := range outputs {
		n, err := outputs[i].write(errs)
		if err != nil {
			return changed, err
		}
		changed += n
	}
	return changed, nil
}

// write makes the folder hold exactly the files, as far as lexgen's own go, and
// touches only what differs.
func (o *output) write(errs io.Writer) (changed int, err error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // a source tree is for everyone
		return 0, err
	}
	stale, strays, err := o.existing()
	if err != nil {
		return 0, err
	}
	for _, f := range o.files {
		old, ok := stale[f.Name]
		delete(stale, f.Name)
		if ok && bytes.Equal(old, f.Data) {
			continue
		}
		path := filepath.Join(o.dir, f.Name)
		if _, err := os.Stat(path); err == nil && !ok {
			return changed, errors.New(o.path(f.Name) + notOurs)
		}
		changed++
		if err := os.WriteFile(path, f.Data, 0o644); err != nil { //nolint:gosec // a source tree is for everyone
			return changed, err
		}
	}
	for name := range stale {
		changed++
		if err := os.Remove(filepath.Join(o.dir, name)); err != nil {
			return changed, err
		}
	}
	for _, name := range strays {
		fmt.Fprintln(errs, o.path(name)+": warning: this file"+notOurs)
	}
	return changed, nil
}

const notOurs = " was not written by lexgen; move it to another folder"

// problems says how the folder differs from what it should hold.
func (o *output) problems() ([]string, error) {
	have, strays, err := o.existing()
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, f := range o.files {
		old, ok := have[f.Name]
		delete(have, f.Name)
		switch {
		case !ok:
			problems = append(problems, o.path(f.Name)+" is missing")
		case !bytes.Equal(old, f.Data):
			problems = append(problems, o.path(f.Name)+" is out of date")
		}
	}
	for name := range have {
		problems = append(problems, o.path(name)+" should not be there")
	}
	for _, name := range strays {
		problems = append(problems, o.path(name)+notOurs)
	}
	return problems, nil
}

// count is the number of files in all outputs.
func count(outputs []output) int {
	n := 0
	for _, o := range outputs {
		n += len(o.files)
	}
	return n
}
