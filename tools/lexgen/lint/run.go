package lint

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

// command is the command line of "lexgen lint".
type command struct {
	in, policy, compat                string
	exclude, deps                     []string
	strict, notes, all, quiet, listed bool
}

func (c *command) flags(stderr io.Writer) *flag.FlagSet {
	fs := flag.NewFlagSet("lexgen lint", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.in, "in", "lexicons", "folder with the lexicons")
	fs.StringVar(&c.policy, "policy", "", "policy file, for the sizes of request bodies (default: policy.json in the folder, if there is one)")
	fs.BoolVar(&c.strict, "strict", false, "treat warnings as errors")
	fs.BoolVar(&c.notes, "notes", false, "list notes too")
	fs.BoolVar(&c.all, "all", false, "list every finding of a rule, not the first few")
	fs.Func("exclude", "do not read the files and folders whose path in the folder matches the `GLOB` (may be repeated)", func(pattern string) error {
		c.exclude = append(c.exclude, pattern)
		_, err := path.Match(pattern, "")
		return err
	})
	fs.Func("deps", "`DIR` with lexicons of others that these refer to (may be repeated)", func(dir string) error {
		c.deps = append(c.deps, dir)
		return nil
	})
	fs.BoolVar(&c.quiet, "quiet", false, "list errors only")
	fs.BoolVar(&c.listed, "rules", false, "list the rules and exit")
	fs.StringVar(&c.compat, "compat", "", `"named-unions" accepts definitions of type union`)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: lexgen lint [--in DIR] [--policy FILE] [--strict] [--quiet|--notes] [--all] [--exclude GLOB] [--deps DIR] [--rules]\n\nChecks lexicons against the rules of style.\n\n")
		fs.PrintDefaults()
	}
	return fs
}

// Run is the command "lexgen lint". It returns 0 when there is no error (and
// with --strict no warning), 1 when there is one, and 2 when it could not check.
func Run(args []string, stdout, stderr io.Writer) int {
	c := &command{}
	fs := c.flags(stderr)
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0 || c.compat != "" && c.compat != "named-unions":
		fs.Usage()
		return 2
	}
	if c.listed {
		for _, r := range Rules() {
			fmt.Fprintf(stdout, "%-24s %-8s %s\n", r.ID, r.Severity, r.Doc)
		}
		return 0
	}
	code, err := c.run(stdout)
	if err != nil {
		fmt.Fprintln(stderr, "lexgen lint:", err)
		return 2
	}
	return code
}

func (c *command) run(stdout io.Writer) (code int, err error) {
	policies, ownPolicy, err := methodPolicies(c.in, c.policy)
	if err != nil {
		return 2, err
	}
	deps, err := lexicon.ReadDeps(c.deps)
	if err != nil {
		return 2, err
	}
	set, diags, err := lexicon.Load(os.DirFS(c.in), lexicon.Options{Exclude: append(c.exclude, ownPolicy), NamedUnions: c.compat != "", Deps: deps})
	if err != nil {
		return 2, err
	}
	// What is invalid gets no advice, but all the rest does.
	sound, left := set.Sound(diags)
	opt := Options{Part: diags.HasErrors(), BodyCap: func(id string) int64 { return policies[id].MaxBody }, Anonymous: func(id string) bool { return policies[id].Anonymous }}
	diags = append(diags, Check(sound, opt)...)
	diags.Sort()
	r := reporter{least: lexicon.Warning, strict: c.strict, all: c.all}
	switch {
	case c.quiet:
		r.least = lexicon.Error
	case c.notes:
		r.least = lexicon.Note
	}
	code = r.report(stdout, diags, set.Own())
	if len(left) > 0 && !c.quiet {
		fmt.Fprintln(stdout, number(len(left), "lexicon")+" with errors, or that refer to one, got no advice on style")
	}
	return code, nil
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type methodPolicy struct {
	MaxBody   int64 `json:"maxBody"`
	Anonymous bool  `json:"anonymous"`
}

// methodPolicies reads what the policy file says of methods, and tells its
// place inside of the folder, where it must not be taken for a lexicon.
func methodPolicies(in, policy string) (map[string]methodPolicy, string, error) {
	exclude := ""
	if policy == "" {
		policy = filepath.Join(in, "policy.json")
		if _, err := os.Stat(policy); err != nil {
			return nil, "", nil //nolint:nilerr // a folder without a policy is as good
		}
	}
	if rel, err := filepath.Rel(in, policy); err == nil && !strings.HasPrefix(rel, "..") {
		exclude = filepath.ToSlash(rel)
	}
	data, err := os.ReadFile(policy)
	if err != nil {
		return nil, "", fmt.Errorf("reading the policy: %w", err)
	}
	var p struct {
		Methods map[string]methodPolicy `json:"methods"`
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return nil, "", fmt.Errorf("%s: %w", policy, err)
	}
	return p.Methods, exclude, nil
}
