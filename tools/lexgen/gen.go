package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"go/token"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// genConfig is the command line of gen and check.
type genConfig struct {
	in, out, pkg, module, policy, handlers, prefix, runtime, compat string
	quiet, fakes, verify                                            bool
	reference                                                       referenceConfig

	// parsedPolicy is set by generate.
	parsedPolicy *ir.Policy
}

func parseGen(name string, args []string, errs io.Writer) (*genConfig, error) {
	c := &genConfig{}
	fl := flag.NewFlagSet("lexgen "+name, flag.ContinueOnError)
	fl.SetOutput(errs)
	fl.StringVar(&c.in, "in", "", "`DIR` with the lexicons; all .json files below it are read")
	fl.StringVar(&c.out, "out", "", "`DIR` of the generated package; generated files that no longer belong there are removed")
	fl.StringVar(&c.pkg, "package", "", "`NAME` of the generated package")
	fl.StringVar(&c.module, "module", "", "import `PATH` of the generated package")
	fl.StringVar(&c.policy, "policy", "", "`FILE` with statuses, body limits and rate classes (optional)")
	fl.StringVar(&c.handlers, "handlers", "", "`DIR` of the package with the handlers; the missing ones are written there (optional)")
	fl.StringVar(&c.prefix, "prefix", "", "`NSID` prefix that Go names leave out, for example com.example (optional)")
	fl.StringVar(&c.runtime, "runtime", "mls-server/lexrt", "import `PATH` of the runtime package")
	fl.StringVar(&c.compat, "compat", "", "accept against the specification: named-unions")
	fl.BoolVar(&c.fakes, "fakes", false, "also write a package with the schemas for tests, named PACKAGEfake, in a folder of that name below --out")
	fl.BoolVar(&c.verify, "verify", false, "type-check the bodies of functions too when the package is larger than 1 MiB; those of smaller ones always are")
	c.reference.flags(fl)
	fl.BoolVar(&c.quiet, "quiet", false, "print errors only")
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, &usageError{err.Error()}
	}
	for _, f := range []struct{ name, value string }{{"in", c.in}, {"out", c.out}, {"package", c.pkg}, {"module", c.module}} {
		if f.value == "" {
			return nil, &usageError{"--" + f.name + " is required"}
		}
	}
	switch {
	case fl.NArg() > 0:
		return nil, &usageError{fmt.Sprintf("%q is one argument too many", fl.Arg(0))}
	case !token.IsIdentifier(c.pkg) || c.pkg == "_":
		return nil, &usageError{fmt.Sprintf("--package %q is not a package name", c.pkg)}
	case strings.ContainsAny(c.module, "\"`\\ \t\r\n") || strings.ContainsAny(c.runtime, "\"`\\ \t\r\n"):
		return nil, &usageError{"an import path must not have quotes, backslashes or spaces"}
	case c.compat != "" && c.compat != "named-unions":
		return nil, &usageError{fmt.Sprintf("--compat %q is not known; there is named-unions", c.compat)}
	}
	c.prefix = strings.TrimSuffix(c.prefix, ".")
	return c, c.reference.check()
}

// generate reads the lexicons and returns the files of the package.
func (c *genConfig) generate(errs io.Writer) (*ir.Model, []emit.File, error) {
	opt := lexicon.Options{NamedUnions: c.compat == "named-unions"}
	var policy *ir.Policy
	if c.policy != "" {
		data, err := os.ReadFile(c.policy)
		if err != nil {
			return nil, nil, err
		}
		if policy, err = ir.ParsePolicy(filepath.ToSlash(c.policy), data); err != nil {
			return nil, nil, err
		}
		if rel, err := filepath.Rel(c.in, c.policy); err == nil {
			opt.Exclude = filepath.ToSlash(rel)
		}
	}
	c.parsedPolicy = policy
	if info, err := os.Stat(c.in); err != nil {
		return nil, nil, err
	} else if !info.IsDir() {
		return nil, nil, fmt.Errorf("--in %s is not a folder", c.in)
	}
	set, diags, err := lexicon.Load(os.DirFS(c.in), opt)
	if err != nil {
		return nil, nil, err
	}
	if len(set.Files) == 0 && !diags.HasErrors() {
		return nil, nil, fmt.Errorf("there are no lexicons in %s", c.in)
	}
	var model *ir.Model
	if !diags.HasErrors() {
		var more lexicon.Diags
		model, more = ir.Build(set, ir.Options{Prefix: c.prefix, Policy: policy})
		diags = append(diags, more...)
		diags.Sort()
	}
	for _, d := range diags {
		if d.Severity == lexicon.Error || !c.quiet {
			fmt.Fprintln(errs, d)
		}
	}
	if diags.HasErrors() {
		return nil, nil, errReported
	}
	files, err := emit.Server(model, c.emitOptions())
	if err != nil {
		return nil, nil, err
	}
	return model, files, emit.TypeCheck(files, c.emitOptions(), c.verify || size(files) <= bodiesLimit)
}

// bodiesLimit is the size in bytes of a package up to which the bodies of its
// functions are type-checked in every run. That takes some 100 ms for each MiB.
const bodiesLimit = 1 << 20

func size(files []emit.File) int {
	n := 0
	for _, f := range files {
		n += len(f.Data)
	}
	return n
}

// fakesPackage is the name of the package for tests and of its folder.
func (c *genConfig) fakesPackage() string { return c.pkg + "fake" }

// outputDirs are the folders with generated files.
func (c *genConfig) outputDirs() []string {
	if c.fakes {
		return []string{c.out, filepath.Join(c.out, c.fakesPackage())}
	}
	return []string{c.out}
}

func (c *genConfig) fakeFiles(model *ir.Model) ([]emit.File, error) {
	f, err := emit.Fakes(model, c.emitOptions(), c.fakesPackage(), c.module+"/"+c.fakesPackage())
	return []emit.File{f}, err
}

func (c *genConfig) writeFakes(model *ir.Model) (int, error) {
	files, err := c.fakeFiles(model)
	if err != nil {
		return 0, err
	}
	return write(filepath.Join(c.out, c.fakesPackage()), files)
}

func (c *genConfig) emitOptions() emit.Options {
	return emit.Options{Package: c.pkg, ImportPath: c.module, Runtime: c.runtime}
}

func runGen(args []string, out, errs io.Writer) error {
	c, err := parseGen("gen", args, errs)
	if err != nil {
		return err
	}
	if printed, ok := c.upToDate(c.cacheKey()); ok {
		fmt.Fprint(errs, printed)
		if !c.quiet {
			fmt.Fprintln(out, "lexgen: nothing changed")
		}
		return nil
	}
	var problems bytes.Buffer
	model, files, err := c.generate(io.MultiWriter(errs, &problems))
	if err != nil {
		return err
	}
	changed, err := write(c.out, files)
	if err != nil {
		return err
	}
	if c.fakes {
		n, err := c.writeFakes(model)
		if err != nil {
			return err
		}
		changed += n
	}
	more, n, err := c.writeReference(model)
	if err != nil {
		return err
	}
	changed += n
	var scaffolds []string
	if c.handlers != "" {
		if scaffolds, err = c.scaffold(model, io.MultiWriter(errs, &problems)); err != nil {
			return err
		}
	}
	if err := c.remember(problems.String()); err != nil {
		return err
	}
	if !c.quiet {
		fmt.Fprintf(out, "lexgen: %d lexicons, %d methods, %d files, %d changed\n", len(model.Lexicons), len(model.Methods), len(files)+more, changed)
		for _, s := range scaffolds {
			fmt.Fprintln(out, "lexgen: new handler", s)
		}
	}
	return nil
}

// write makes the folder hold exactly the files, as far as generated files go,
// and touches only what differs.
func write(dir string, files []emit.File) (changed int, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // generated source is for everyone
		return 0, err
	}
	stale, err := generated(dir)
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		old, ok := stale[f.Name]
		delete(stale, f.Name)
		if ok && bytes.Equal(old, f.Data) {
			continue
		}
		path := filepath.Join(dir, f.Name)
		if _, err := os.Stat(path); err == nil && !ok {
			return changed, fmt.Errorf("%s was not written by lexgen; move it out of the generated package", path)
		}
		changed++
		if err := os.WriteFile(path, f.Data, 0o644); err != nil { //nolint:gosec // generated source is for everyone
			return changed, err
		}
	}
	for name := range stale {
		changed++
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return changed, err
		}
	}
	return changed, nil
}

// generated returns the files in dir that carry the generator's header.
func generated(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := map[string][]byte{}
	for _, e := range entries {
		if e.IsDir() || filepath.Ext(e.Name()) != ".go" {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return nil, err
		}
		if bytes.HasPrefix(data, []byte("// "+emit.Header)) {
			out[e.Name()] = data
		}
	}
	return out, nil
}

func runCheck(args []string, out, errs io.Writer) error {
	c, err := parseGen("check", args, errs)
	if err != nil {
		return err
	}
	model, files, err := c.generate(errs)
	if err != nil {
		return err
	}
	problems, err := compare(c.out, files)
	if err != nil {
		return err
	}
	if c.fakes {
		fakes, err := c.fakeFiles(model)
		if err != nil {
			return err
		}
		more, err := compare(filepath.Join(c.out, c.fakesPackage()), fakes)
		if err != nil {
			return err
		}
		problems = append(problems, more...)
	}
	beside, more, err := c.checkReference(model)
	if err != nil {
		return err
	}
	problems = append(problems, more...)
	if c.handlers != "" {
		found, err := handlerMethods(c.handlers)
		if err != nil {
			return err
		}
		for _, m := range model.Methods {
			if _, ok := found[m.GoName]; !ok {
				problems = append(problems, filepath.ToSlash(c.handlers)+" has no method "+m.GoName+" for "+m.NSID)
			}
		}
	}
	slices.Sort(problems)
	for _, p := range problems {
		fmt.Fprintln(errs, "lexgen check: "+p)
	}
	if len(problems) > 0 {
		fmt.Fprintln(errs, "lexgen check: run lexgen gen")
		return errReported
	}
	if !c.quiet {
		fmt.Fprintf(out, "lexgen: %d files are up to date\n", len(files)+beside)
	}
	return nil
}

// compare says how the generated files in dir differ from what they should be.
func compare(dir string, files []emit.File) ([]string, error) {
	have, err := generated(dir)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, f := range files {
		path := filepath.ToSlash(filepath.Join(dir, f.Name))
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
		problems = append(problems, filepath.ToSlash(filepath.Join(dir, name))+" should not be there")
	}
	return problems, nil
}
