package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"go/token"
	"io"
	"os"
	"os/signal"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"mls-server/tools/lexgen/emit"
	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// genConfig is the command line of gen and check.
type genConfig struct {
	in, out, pkg, module, policy, handlers, prefix, runtime, compat string
	quiet, fakes, verify, keepGoing, watch                          bool
	only, without, exclude, deps, imports                           ids
	target, config                                                  string
	reference                                                       referenceConfig

	// parsedPolicy is set by load, and incomplete, when lexicons are left out for their errors.
	parsedPolicy *ir.Policy
	incomplete   bool
	// whole is the model of all lexicons as if one package had them, which pages describe.
	whole *ir.Model
	// others are the packages that lexgen.json makes of other lexicons of the folder.
	others []ir.Elsewhere
}

// genFlags are the flags of gen and check, which set c. Except for those of ownFlags each is a
// member of lexgen.json too.
func genFlags(name string, c *genConfig) *flag.FlagSet {
	fl := flag.NewFlagSet("lexgen "+name, flag.ContinueOnError)
	// An error stands alone: the list of flags is for those who ask for it.
	fl.SetOutput(io.Discard)
	fl.Usage = func() {}
	fl.StringVar(&c.in, "in", "", "`DIR` with the lexicons; all .json files below it are read")
	fl.StringVar(&c.out, "out", "", "`DIR` of the generated package; generated files that no longer belong there are removed")
	fl.StringVar(&c.pkg, "package", "", "`NAME` of the generated package")
	fl.StringVar(&c.module, "module", "", "import `PATH` of the generated package")
	fl.StringVar(&c.policy, "policy", "", "`FILE` with statuses, body limits and rate classes (optional)")
	fl.StringVar(&c.handlers, "handlers", "", "`DIR` of the package with the handlers; the missing ones are written there (optional)")
	fl.StringVar(&c.prefix, "prefix", "", "`NSID` prefix that Go names leave out, for example com.example (optional)")
	fl.StringVar(&c.runtime, "runtime", "mls-server/lexrt", "import `PATH` of the runtime package")
	fl.StringVar(&c.compat, "compat", "", "accept against the specification: `named-unions`")
	fl.StringVar(&c.target, "target", "server", "what the package is for: `server`, client (no Service and Mount) or types (no methods at all)")
	fl.BoolVar(&c.fakes, "fakes", false, "also write a package with the schemas for tests, named PACKAGEfake, in a folder of that name below --out")
	fl.BoolVar(&c.verify, "verify", false, "type-check the bodies of functions too when the package is larger than 1 MiB; those of smaller ones always are")
	fl.Var(&c.deps, "deps", "`DIR` with lexicons of others; what the own ones refer to is generated with them, unless --import says where it is (may be repeated)")
	fl.Var(&c.imports, "import", "`NSID=PATH`: lexgen has made the types of this lexicon, or with .* at the end of those below it, in the package of the import path (may be repeated)")
	fl.Var(&c.without, "without", "leave the lexicon `NSID`, or with .* at the end all below it, out of the Go packages; pages and OpenAPI have them (may be repeated)")
	fl.Var(&c.only, "only", "write Go for the lexicon `NSID` alone, or with .* at the end for those below it (may be repeated)")
	fl.Var(&c.exclude, "exclude", "do not read the files and folders whose path in --in matches the `GLOB` (may be repeated)")
	fl.BoolVar(&c.keepGoing, "keep-going", false, "generate from the lexicons without errors that refer to none with errors; the exit code is 1 all the same")
	c.reference.flags(fl)
	fl.BoolVar(&c.quiet, "quiet", false, "print errors only")
	if name == "gen" {
		fl.BoolVar(&c.watch, "watch", false, "go on until Ctrl-C, and generate again whenever a lexicon, the policy, a handler or "+projectFile+" changes")
	}
	fl.StringVar(&c.config, "config", "", "`FILE` to read instead of the nearest "+projectFile+" in this folder or above")
	return fl
}

// parseFlags reads a command line, or the part of lexgen.json that stands for one. It returns the
// names of the flags that it has.
func parseFlags(name string, args []string, errs io.Writer) (c *genConfig, given map[string]bool, err error) {
	c = &genConfig{}
	fl := genFlags(name, c)
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fl.SetOutput(errs)
			fmt.Fprintf(errs, "usage: lexgen %s [flags]\n\nWhere there is a %s it needs none: its members have the names of the flags.\n\n", name, projectFile)
			fl.PrintDefaults()
			return nil, nil, err
		}
		return nil, nil, &usageError{err.Error() + nearFlag(fl, err)}
	}
	if fl.NArg() > 0 {
		return nil, nil, &usageError{fmt.Sprintf("%q is one argument too many", fl.Arg(0))}
	}
	given = map[string]bool{}
	fl.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return c, given, nil
}

// nearFlag is a hint for a flag that there is not.
func nearFlag(fl *flag.FlagSet, err error) string {
	_, unknown, ok := strings.Cut(err.Error(), "not defined: -")
	if !ok {
		return ""
	}
	var names []string
	fl.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if near := lexicon.Nearest(unknown, names); near != "" {
		return "; did you mean --" + near + "?"
	}
	return ""
}

// check says what is wrong with a command line.
func (c *genConfig) check() error {
	for _, f := range []struct{ name, value string }{{"in", c.in}, {"out", c.out}, {"package", c.pkg}, {"module", c.module}} {
		if f.value == "" {
			return &usageError{"--" + f.name + " is required"}
		}
	}
	target, known := emit.ParseTarget(c.target)
	switch {
	case !known:
		return &usageError{fmt.Sprintf("--target %q is not known; there are server, client and types", c.target)}
	case target != emit.Server && c.handlers != "":
		return &usageError{"--handlers is for --target server"}
	case target == emit.Types && c.reference.client != "":
		return &usageError{"--client needs --target client or server"}
	case !token.IsIdentifier(c.pkg) || c.pkg == "_":
		return &usageError{fmt.Sprintf("--package %q is not a package name", c.pkg)}
	case strings.ContainsAny(c.module, "\"`\\ \t\r\n") || strings.ContainsAny(c.runtime, "\"`\\ \t\r\n"):
		return &usageError{"an import path must not have quotes, backslashes or spaces"}
	case len(c.only) > 0 && len(c.without) > 0:
		return &usageError{"--only and --without exclude each other"}
	case !c.exclude.patterns():
		return &usageError{"--exclude is not a pattern: * stands for any characters but /, ? for one, […] for one of these"}
	case !c.importsAreWhole():
		return &usageError{"--import must be NSID=PATH or NSID=PATH#PREFIX, for example com.atproto.*=example.com/atproto/api"}
	case c.compat != "" && c.compat != "named-unions":
		return &usageError{fmt.Sprintf("--compat %q is not known; there is named-unions", c.compat)}
	}
	c.prefix = strings.TrimSuffix(c.prefix, ".")
	return c.reference.check()
}

// load reads the policy and the lexicons and returns the model. It prints what is wrong with them.
func (c *genConfig) load(errs io.Writer) (*ir.Model, error) {
	opt := lexicon.Options{NamedUnions: c.compat == "named-unions", Exclude: slices.Clone(c.exclude)}
	var policy *ir.Policy
	if c.policy != "" {
		data, err := os.ReadFile(c.policy)
		if err != nil {
			return nil, err
		}
		if policy, err = ir.ParsePolicy(filepath.ToSlash(c.policy), data); err != nil {
			return nil, err
		}
		if rel, err := filepath.Rel(c.in, c.policy); err == nil {
			opt.Exclude = append(opt.Exclude, filepath.ToSlash(rel))
		}
	}
	c.parsedPolicy = policy
	var err error
	if opt.Deps, err = lexicon.ReadDeps(c.deps); err != nil {
		return nil, err
	}
	if info, err := os.Stat(c.in); err != nil {
		return nil, err
	} else if !info.IsDir() {
		return nil, fmt.Errorf("--in %s is not a folder", c.in)
	}
	set, diags, err := lexicon.Load(os.DirFS(c.in), opt)
	if err != nil {
		return nil, err
	}
	if len(set.Files) == 0 && !diags.HasErrors() {
		return nil, fmt.Errorf("there are no lexicons in %s", c.in)
	}
	model, diags := c.build(set, diags)
	diags.Sort()
	for _, d := range diags {
		if d.Severity == lexicon.Error || !c.quiet {
			fmt.Fprintln(errs, d)
		}
	}
	if model == nil {
		return nil, errReported
	}
	return model, nil
}

// build makes the model of the lexicons. With keepGoing those with errors are left out; without,
// or when the errors are in none of them, there is no model. The problems are those given and its
// own.
func (c *genConfig) build(set *lexicon.Set, diags lexicon.Diags) (*ir.Model, lexicon.Diags) {
	found := diags
	for first := true; ; first = false {
		if found.HasErrors() {
			sound, left := set.Sound(found)
			if !c.keepGoing || len(sound.Files) == 0 || len(left) == 0 && !first {
				return nil, diags
			}
			set, c.incomplete = sound, true
		}
		elsewhere := slices.Concat(c.elsewhere(), c.others)
		model, more := ir.Build(set, ir.Options{Prefix: c.prefix, Policy: c.parsedPolicy, Elsewhere: elsewhere, Own: c.has, KeepAll: c.keepsAll()})
		if c.whole = model; len(elsewhere) > 0 && c.reference.docs+c.reference.openapi != "" {
			var again lexicon.Diags
			c.whole, again = ir.Build(set, ir.Options{Prefix: c.prefix, Policy: c.parsedPolicy})
			more = append(more, again...)
		}
		diags = append(diags, more...)
		if !more.HasErrors() {
			return model, diags
		}
		found = more
	}
}

// generate reads the lexicons and makes every output in memory.
func (c *genConfig) generate(errs io.Writer) (*ir.Model, []output, error) {
	model, err := c.load(errs)
	if err != nil {
		return nil, nil, err
	}
	outputs, err := c.outputs(model)
	return model, outputs, err
}

// part is the part of the model that the Go packages have.
func (c *genConfig) part(m *ir.Model) (*ir.Model, error) {
	for _, pattern := range slices.Concat(c.only, c.without) {
		if !slices.ContainsFunc(m.Lexicons, func(l *ir.Lexicon) bool { return ir.Matches(pattern, l.File.ID) }) {
			return nil, fmt.Errorf("there is no lexicon %s in %s", pattern, c.in)
		}
	}
	return m.Part(c.has)
}

// has reports whether the package has the types of a lexicon.
func (c *genConfig) has(id string) bool {
	if len(c.only) > 0 {
		return c.only.match(id)
	}
	return !c.without.match(id)
}

// ids is a flag that may be repeated.
type ids []string

// patterns reports whether all are patterns of path.Match.
func (s *ids) patterns() bool {
	return !slices.ContainsFunc(*s, func(p string) bool {
		_, err := path.Match(p, "")
		return err != nil
	})
}

// match reports whether one of them is the NSID, or a pattern of it.
func (s *ids) match(nsid string) bool {
	return slices.ContainsFunc(*s, func(pattern string) bool { return ir.Matches(pattern, nsid) })
}

func (s *ids) String() string { return strings.Join(*s, ",") }

// Set adds an id.
func (s *ids) Set(id string) error {
	*s = append(*s, id)
	return nil
}

func (c *genConfig) emitOptions() emit.Options {
	target, _ := emit.ParseTarget(c.target)
	return emit.Options{Package: c.pkg, ImportPath: c.module, Runtime: c.runtime, Target: target}
}

func runGen(args []string, out, errs io.Writer) error {
	gen := func() error {
		return eachPackage("gen", args, errs, func(c *genConfig) error { return c.gen(out, errs) })
	}
	c, _, err := parseFlags("gen", args, io.Discard)
	if err != nil || !c.watch {
		return gen() // which tells the error
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	watch(ctx, watchEvery, func() string { return inputs(args) }, func() {
		if err := gen(); err != nil && !errors.Is(err, errReported) {
			fmt.Fprintln(errs, "lexgen gen: "+err.Error())
		}
	})
	return nil
}

func (c *genConfig) gen(out, errs io.Writer) error {
	if printed, ok := c.upToDate(c.cacheKey()); ok {
		fmt.Fprint(errs, printed)
		if !c.quiet {
			fmt.Fprintln(out, "lexgen: nothing changed")
		}
		return nil
	}
	var problems bytes.Buffer
	both := io.MultiWriter(errs, &problems)
	model, outputs, err := c.generate(both)
	if err != nil {
		return err
	}
	changed, err := writeAll(outputs, both)
	if err != nil {
		return err
	}
	scaffolds, err := c.scaffold(model, both)
	if err != nil {
		return err
	}
	if !c.incomplete {
		if err := c.remember(problems.String()); err != nil {
			return err
		}
	}
	if !c.quiet {
		fmt.Fprintf(out, "lexgen: %d lexicons, %d methods, %d files, %d changed\n",
			len(model.Lexicons), len(model.Methods), count(outputs), changed)
		for _, s := range scaffolds {
			fmt.Fprintln(out, "lexgen: new handler", s)
		}
	}
	if c.incomplete {
		fmt.Fprintln(errs, "lexgen gen: lexicons with errors, and those that refer to them, are left out")
		return errReported
	}
	return nil
}

func runCheck(args []string, out, errs io.Writer) error {
	return eachPackage("check", args, errs, func(c *genConfig) error { return c.compare(out, errs) })
}

func (c *genConfig) compare(out, errs io.Writer) error {
	if printed, ok := c.upToDate(c.cacheKey()); ok {
		fmt.Fprint(errs, printed)
		if !c.quiet {
			fmt.Fprintln(out, "lexgen: the files are up to date: nothing changed since they were generated")
		}
		return nil
	}
	model, outputs, err := c.generate(errs)
	if err != nil {
		return err
	}
	problems, err := c.missingHandlers(model)
	if err != nil {
		return err
	}
	for i := range outputs {
		more, err := outputs[i].problems()
		if err != nil {
			return err
		}
		problems = append(problems, more...)
	}
	slices.Sort(problems)
	for _, p := range problems {
		fmt.Fprintln(errs, "lexgen check: "+p)
	}
	if len(problems) > 0 {
		fmt.Fprintln(errs, "lexgen check: run lexgen gen")
	}
	if len(problems) > 0 || c.incomplete {
		return errReported
	}
	if !c.quiet {
		fmt.Fprintf(out, "lexgen: %d files are up to date\n", count(outputs))
	}
	return nil
}
