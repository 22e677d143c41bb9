package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"mls-server/tools/lexgen/lexicon"
)

// projectFile is the name of the file that spares a project its command lines. Its members have the
// names of flags: those of the file hold for every package, those of an item of "packages" for that
// one. Paths are relative to the file.
const projectFile = "lexgen.json"

// ownFlags are about one run, and not members of lexgen.json.
var ownFlags = []string{"config", "keep-going", "quiet", "verify", "watch"}

type project struct {
	// file is its path, as messages name it.
	file string
	// common are the members of the file itself, packages those of each package, breaking those
	// for the command of that name.
	common, breaking members
	packages         []members
}

type members map[string]jsontext.Value

// eachPackage does something for the package of a command line, or for each one of lexgen.json. It
// goes on after problems that were reported.
func eachPackage(name string, args []string, errs io.Writer, do func(*genConfig) error) error {
	all, err := configs(name, args, errs)
	if err != nil {
		return err
	}
	var result error
	for _, c := range all {
		switch err := do(c); {
		case err == nil:
		case errors.Is(err, errReported):
			result = err
		default:
			return err
		}
	}
	return result
}

func configs(name string, args []string, errs io.Writer) ([]*genConfig, error) {
	c, given, err := parseFlags(name, args, errs)
	if err != nil {
		return nil, err
	}
	for _, own := range ownFlags {
		delete(given, own)
	}
	if len(given) > 0 {
		if c.config != "" {
			return nil, &usageError{"--config stands alone: --" + slices.Min(slices.Collect(maps.Keys(given))) + " belongs into the file"}
		}
		return []*genConfig{c}, c.check()
	}
	p, err := findProject(c.config)
	if err != nil {
		return nil, err
	}
	if p == nil {
		return nil, &usageError{"--in is required, or a " + projectFile + " in this folder or above"}
	}
	if len(p.packages) == 0 {
		return nil, errors.New(p.file + `: /packages must name at least one package`)
	}
	var all []*genConfig
	for i, m := range p.packages {
		own, err := p.args(name, m)
		if err != nil {
			return nil, fmt.Errorf("%s: packages/%d/%w", p.file, i, err)
		}
		one, _, err := parseFlags(name, own, io.Discard)
		if err == nil {
			err = one.check()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: package %d: %w", p.file, i+1, err)
		}
		one.quiet, one.verify, one.keepGoing = c.quiet, c.verify, c.keepGoing
		all = append(all, one)
	}
	introduce(all)
	return all, nil
}

// findProject reads the file, or the nearest lexgen.json in this folder or above. It returns nil
// when there is none.
func findProject(file string) (*project, error) {
	if file != "" {
		return readProject(file)
	}
	here, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	for dir := here; ; dir = filepath.Dir(dir) {
		name := filepath.Join(dir, projectFile)
		if rel, err := filepath.Rel(here, name); err == nil {
			name = rel
		}
		p, err := readProject(name)
		if !errors.Is(err, fs.ErrNotExist) {
			return p, err
		}
		if dir == filepath.Dir(dir) {
			return nil, nil //nolint:nilnil // absence is an ordinary answer here
		}
	}
}

func readProject(file string) (*project, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := &project{file: filepath.ToSlash(file)}
	if err := jsonv2.Unmarshal(data, &p.common); err != nil {
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	for name, into := range map[string]any{"packages": &p.packages, "breaking": &p.breaking} {
		if v, ok := p.common[name]; ok {
			if err := jsonv2.Unmarshal(v, into); err != nil {
				return nil, fmt.Errorf("%s: /%s: %w", p.file, name, err)
			}
		}
		delete(p.common, name)
	}
	delete(p.common, "$schema")
	for member, value := range p.breaking {
		if value.Kind() != '"' || member != "against" && member != "waivers" {
			return nil, fmt.Errorf(`%s: /breaking has "against" and "waivers", which are strings, and nothing else`, p.file)
		}
	}
	if _, err := p.args("gen", nil); err != nil {
		return nil, fmt.Errorf("%s: %w", p.file, err)
	}
	return p, nil
}

// args are the members of the file, and of one package, as flags of a command. What the package
// says comes last, so that it holds.
func (p *project) args(name string, own members) ([]string, error) {
	fl := genFlags(name, &genConfig{})
	common := maps.Clone(p.common)
	for member := range own {
		delete(common, member)
	}
	var all []string
	for _, m := range []members{common, own} {
		for _, member := range slices.Sorted(maps.Keys(m)) {
			args, err := p.flagArgs(fl, member, m[member])
			if err != nil {
				return nil, err
			}
			all = append(all, args...)
		}
	}
	return all, nil
}

// flagArgs is one member as flags.
func (p *project) flagArgs(fl *flag.FlagSet, member string, value jsontext.Value) ([]string, error) {
	f := fl.Lookup(member)
	if f == nil || slices.Contains(ownFlags, member) {
		var names []string
		fl.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
		hint := ""
		if near := lexicon.Nearest(member, names); near != "" && !slices.Contains(ownFlags, near) {
			hint = "; did you mean " + strconv.Quote(near) + "?"
		}
		return nil, fmt.Errorf("%s is not a member that is known here%s", lexicon.Printable(member), hint)
	}
	takes, _ := flag.UnquoteUsage(f)
	list, wrong := texts(f, value)
	if wrong != "" {
		return nil, errors.New(member + " must be " + wrong)
	}
	args := make([]string, len(list))
	for i, text := range list {
		if text != "" && !filepath.IsAbs(text) && (takes == "DIR" || takes == "FILE") {
			text = filepath.Join(filepath.Dir(p.file), filepath.FromSlash(text))
		}
		args[i] = "--" + member + "=" + text
	}
	return args, nil
}

// texts are the values of a member as its flag takes them, or what it must be.
func texts(f *flag.Flag, value jsontext.Value) (list []string, wrong string) {
	switch kindOf(f) {
	case "boolean":
		var b bool
		if jsonv2.Unmarshal(value, &b) != nil {
			return nil, "true or false"
		}
		return []string{strconv.FormatBool(b)}, ""
	case "array":
		if value.Kind() != '[' || jsonv2.Unmarshal(value, &list) != nil {
			return nil, "an array of strings"
		}
		return list, ""
	}
	var text string
	if value.Kind() != '"' || jsonv2.Unmarshal(value, &text) != nil {
		return nil, "a string"
	}
	return []string{text}, ""
}

// kindOf is the JSON type of the member that stands for a flag.
func kindOf(f *flag.Flag) string {
	if b, ok := f.Value.(interface{ IsBoolFlag() bool }); ok && b.IsBoolFlag() {
		return "boolean"
	}
	if _, ok := f.Value.(*ids); ok {
		return "array"
	}
	return "string"
}

// withProject puts what lexgen.json says before the arguments of another command, unless these name
// the folder themselves.
func withProject(run func(args []string, out, errs io.Writer) error, members func(p *project) []string) func([]string, io.Writer, io.Writer) error {
	return func(args []string, out, errs io.Writer) error {
		for _, a := range args {
			if name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "="); name == "in" || name == "help" || name == "h" || name == "rules" {
				return run(args, out, errs)
			}
		}
		p, err := findProject("")
		switch {
		case err != nil:
			return err
		case p == nil:
			return run(args, out, errs)
		}
		return run(append(members(p), args...), out, errs)
	}
}

// lintArgs are the members that lint knows.
func (p *project) lintArgs() []string { return p.some("in", "policy", "exclude", "compat", "deps") }

// newArgs is the folder.
func (p *project) newArgs() []string { return p.some("in") }

// pullArgs are the folder, and the lock file beside lexgen.json.
func (p *project) pullArgs() []string {
	return append(p.some("in"), "--lock="+filepath.Join(filepath.Dir(p.file), "lexicons.json"))
}

// breakingArgs are those that breaking knows, and those that are for it alone. Its policy is
// relative to the folder.
func (p *project) breakingArgs() []string {
	args := p.some("in", "compat", "deps")
	in, policy := p.text(p.common, "in"), p.text(p.common, "policy")
	if rel, err := filepath.Rel(in, policy); policy != "" && err == nil && !strings.HasPrefix(rel, "..") {
		args = append(args, "--policy="+filepath.ToSlash(rel))
	}
	if against := p.text(p.breaking, "against"); against != "" {
		args = append(args, "--against="+against)
	}
	if waivers := p.text(p.breaking, "waivers"); waivers != "" {
		args = append(args, "--waivers="+filepath.Join(filepath.Dir(p.file), waivers))
	}
	return args
}

// some are the members of the file with one of the names, as flags.
func (p *project) some(names ...string) []string {
	fl := genFlags("", &genConfig{})
	var all []string
	for _, name := range names {
		if v, ok := p.common[name]; ok {
			args, _ := p.flagArgs(fl, name, v) // they were read once without an error
			all = append(all, args...)
		}
	}
	return all
}

func (p *project) text(m members, name string) string {
	var text string
	if v, ok := m[name]; ok && jsonv2.Unmarshal(v, &text) != nil {
		return ""
	}
	return text
}
