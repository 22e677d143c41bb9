package main

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mls-server/tools/lexgen/client"
	"mls-server/tools/lexgen/docs"
	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/openapi"
)

// referenceConfig is the part of the command line of gen and check that is about
// the outputs beside the server. Empty paths leave an output out.
type referenceConfig struct {
	docs, openapi, client, clientPackage, clientRuntime, title string
}

func (r *referenceConfig) flags(fl *flag.FlagSet) {
	fl.StringVar(&r.docs, "docs", "", "`DIR` of the reference pages (optional)")
	fl.StringVar(&r.openapi, "openapi", "", "`FILE` with the OpenAPI document (optional)")
	fl.StringVar(&r.client, "client", "", "`DIR` of the package with the typed client (optional)")
	fl.StringVar(&r.clientPackage, "client-package", "client", "`NAME` of the package with the typed client")
	fl.StringVar(&r.clientRuntime, "client-runtime", "", "import `PATH` of the client's runtime (default: lexclient below --runtime)")
	fl.StringVar(&r.title, "title", "", "name of the service in reference pages (default: the prefix)")
}

func (r *referenceConfig) check() error {
	switch {
	case r.client != "" && (!token.IsIdentifier(r.clientPackage) || r.clientPackage == "_"):
		return &usageError{fmt.Sprintf("--client-package %q is not a package name", r.clientPackage)}
	case strings.ContainsAny(r.clientRuntime, "\"`\\ \t\r\n"):
		return &usageError{"an import path must not have quotes, backslashes or spaces"}
	}
	return nil
}

// output is a set of files in one folder, and how to tell files that lexgen wrote there.
type output struct {
	dir   string
	files []emit.File
	ours  func(name string, data []byte) bool
}

// outputs makes the files beside the server.
func (c *genConfig) outputs(m *ir.Model) ([]output, error) {
	var out []output
	title := cmp.Or(c.reference.title, c.prefix, "API")
	if c.reference.docs != "" {
		files, err := docs.Files(m, docs.Options{Title: title, Prefix: c.prefix, Policy: c.parsedPolicy})
		if err != nil {
			return nil, err
		}
		out = append(out, output{c.reference.docs, files, func(name string, data []byte) bool {
			ext := filepath.Ext(name)
			return (ext == ".md" || ext == ".html") && bytes.Contains(data[:min(len(data), 200)], []byte(docs.Header))
		}})
	}
	if c.reference.openapi != "" {
		data, err := openapi.Document(m, openapi.Options{Title: title, Policy: c.parsedPolicy})
		if err != nil {
			return nil, err
		}
		dir, name := filepath.Split(c.reference.openapi)
		out = append(out, output{cmp.Or(dir, "."), []emit.File{{Name: name, Data: data}}, func(have string, _ []byte) bool { return have == name }})
	}
	if c.reference.client != "" {
		files, err := client.Files(m, client.Options{
			Package: c.reference.clientPackage, Types: c.module, TypesPackage: c.pkg, Runtime: c.runtime,
			ClientRuntime: cmp.Or(c.reference.clientRuntime, c.runtime+"/lexclient"),
		})
		if err != nil {
			return nil, err
		}
		out = append(out, output{c.reference.client, files, func(name string, data []byte) bool {
			return filepath.Ext(name) == ".go" && bytes.HasPrefix(data, []byte("// "+emit.Header))
		}})
	}
	return out, nil
}

// existing returns the files in the folder that lexgen wrote.
func (o *output) existing() (map[string][]byte, error) {
	entries, err := os.ReadDir(o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		switch filepath.Ext(e.Name()) {
		case ".md", ".html", ".json", ".go":
		default:
			continue
		}
		data, err := os.ReadFile(filepath.Join(o.dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if o.ours(e.Name(), data) {
			out[e.Name()] = data
		}
	}
	return out, nil
}

// write makes the folder hold exactly the files, as far as lexgen's own go, and
// touches only what differs.
func (o *output) write() (changed int, err error) {
	if err := os.MkdirAll(o.dir, 0o755); err != nil { //nolint:gosec // a source tree is for everyone
		return 0, err
	}
	stale, err := o.existing()
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
			return changed, fmt.Errorf("%s was not written by lexgen; move it away", path)
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
	return changed, nil
}

// problems says how the folder differs from what it should hold.
func (o *output) problems() ([]string, error) {
	have, err := o.existing()
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, f := range o.files {
		path := filepath.ToSlash(filepath.Join(o.dir, f.Name))
		old, ok := have[f.Name]
		delete(have, f.Name)
		switch {
		case !ok:
			problems = append(problems, path+" is missing")
		case !bytes.Equal(old, f.Data):
			problems = append(problems, path+" is out of date")
		}
	}
	for name := range have {
		problems = append(problems, filepath.ToSlash(filepath.Join(o.dir, name))+" should not be there")
	}
	return problems, nil
}

func (c *genConfig) writeReference(m *ir.Model) (files, changed int, err error) {
	outputs, err := c.outputs(m)
	if err != nil {
		return 0, 0, err
	}
	for i := range outputs {
		n, err := outputs[i].write()
		if err != nil {
			return files, changed, err
		}
		files, changed = files+len(outputs[i].files), changed+n
	}
	return files, changed, nil
}

func (c *genConfig) checkReference(m *ir.Model) (files int, all []string, err error) {
	outputs, err := c.outputs(m)
	if err != nil {
		return 0, nil, err
	}
	for i := range outputs {
		problems, err := outputs[i].problems()
		if err != nil {
			return 0, nil, err
		}
		files, all = files+len(outputs[i].files), append(all, problems...)
	}
	return files, all, nil
}
