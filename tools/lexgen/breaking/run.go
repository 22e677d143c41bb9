package breaking

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"mls-server/tools/lexgen/lexicon"
)

// command is one call of "lexgen breaking".
type command struct {
	in, against, policy, waivers, level, compat, today string
	rules                                              bool
	deps                                               []string

	out, err io.Writer
}

// Run is the command "lexgen breaking". It returns 0 when nothing that is
// forbidden changed, 1 when something did, and 2 when it could not compare.
func Run(args []string, stdout, stderr io.Writer) int {
	c := command{out: stdout, err: stderr}
	fs := flag.NewFlagSet("lexgen breaking", flag.ContinueOnError)
	fs.SetOutput(stderr)
	fs.StringVar(&c.in, "in", "lexicons", "folder with the new version")
	fs.StringVar(&c.against, "against", "", "old version: git:REVISION of the same folder, or another folder")
	fs.StringVar(&c.policy, "policy", "policy.json", "policy file, relative to the folder of each version; it need not exist")
	fs.StringVar(&c.waivers, "waivers", "", "file with changes that are allowed for a time")
	fs.StringVar(&c.level, "level", "contract", "mildest level that is forbidden: wire, contract, source or review")
	fs.StringVar(&c.compat, "compat", "", `"named-unions" accepts definitions of type union`)
	fs.Func("deps", "`DIR` with lexicons of others that both versions refer to (may be repeated)", func(dir string) error {
		c.deps = append(c.deps, dir)
		return nil
	})
	fs.StringVar(&c.today, "today", time.Now().UTC().Format(time.DateOnly), "day on which waivers must be valid")
	fs.BoolVar(&c.rules, "rules", false, "list the rules and exit")
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: lexgen breaking --in DIR --against git:REVISION|DIR [--waivers FILE] [--level LEVEL]\n\n"+
			"Compares two versions of a folder of lexicons. Exits 1 on changes that break clients, servers or records.\n\n")
		fs.PrintDefaults()
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0:
		fs.Usage()
		return 2
	}
	if c.rules {
		for _, r := range Rules() {
			fmt.Fprintf(stdout, "%-22s %s\n", r.ID, r.Doc)
		}
		return 0
	}
	code, err := c.run()
	if err != nil {
		fmt.Fprintln(stderr, "lexgen breaking:", err)
	}
	return code
}

func (c *command) run() (int, error) {
	level, ok := ParseLevel(c.level)
	if !ok {
		return 2, fmt.Errorf("%q is not a level: use wire, contract, source or review", c.level)
	}
	if c.compat != "" && c.compat != "named-unions" {
		return 2, fmt.Errorf("%q is not a compatibility switch; the only one is named-unions", c.compat)
	}
	today, err := time.Parse(time.DateOnly, c.today)
	if err != nil {
		return 2, fmt.Errorf("--today must be YYYY-MM-DD: %w", err)
	}
	var waivers []*Waiver
	if c.waivers != "" {
		if waivers, err = readWaivers(c.waivers, today); err != nil {
			return 2, err
		}
	}
	before, after, code, err := c.versions()
	if code != 0 || err != nil {
		return code, err
	}
	return c.print(Compare(before, after), waivers, level, today), nil
}

func (c *command) versions() (before, after Version, code int, err error) {
	opt := lexicon.Options{NamedUnions: c.compat != ""}
	if c.against == "" {
		return before, after, 2, errors.New("--against is missing: name a revision (git:main) or a folder")
	}
	if opt.Deps, err = lexicon.ReadDeps(c.deps); err != nil {
		return before, after, 2, err
	}
	after, diags, err := readFolder(c.in, c.policy, opt)
	if err != nil {
		return before, after, 2, err
	}
	if diags.HasErrors() {
		c.list(diags)
		return before, after, 2, errors.New("the new version has errors; correct them first")
	}
	if rev, ok := strings.CutPrefix(c.against, "git:"); ok {
		before, diags, err = readGit(c.in, rev, c.policy, opt)
	} else {
		before, diags, err = readFolder(c.against, c.policy, opt)
	}
	switch {
	case err != nil:
		return before, after, 2, err
	case diags.HasErrors():
		c.list(diags)
		return before, after, 2, errors.New("the old version has errors, so it cannot be compared")
	case len(before.Set.Files) == 0:
		return before, after, 2, errors.New("the old version has no lexicons")
	}
	return before, after, 0, nil
}

func (c *command) list(diags lexicon.Diags) {
	for _, d := range diags {
		if d.Severity == lexicon.Error {
			fmt.Fprintln(c.err, d)
		}
	}
}

func (c *command) print(found []Finding, waivers []*Waiver, level Level, today time.Time) int {
	forbidden, waived := 0, 0
	for _, f := range found {
		note := ""
		w := matching(waivers, f)
		switch {
		case f.Level < level:
		case w == nil:
			forbidden++
		case today.After(w.until):
			forbidden++
			note = "\twaiver: expired on " + w.Expires + "\n"
		default:
			waived++
			note = "\twaiver: until " + w.Expires + ": " + lexicon.Printable(w.Reason) + "\n"
		}
		fmt.Fprint(c.out, f.String(), note)
	}
	for _, w := range waivers {
		if !w.used {
			fmt.Fprintf(c.out, "%s: warning: the waiver for %s at %s%s matches no change; remove it\n", c.waivers, w.Rule, lexicon.Printable(w.Lexicon), fragment(w.Pointer))
		}
	}
	fmt.Fprintf(c.out, "%d changes worth a look, %d forbidden, %d waived\n", len(found), forbidden, waived)
	if forbidden > 0 {
		return 1
	}
	return 0
}

func fragment(pointer string) string {
	if pointer == "" {
		return ""
	}
	return "#" + lexicon.Printable(pointer)
}

// String formats the finding over several lines, each ended by a line break.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		b.WriteString(":" + strconv.Itoa(f.Line) + ":" + strconv.Itoa(f.Col))
	}
	b.WriteString(": " + f.Level.String() + ": " + lexicon.Printable(f.Message) + " [" + f.Rule + "]\n")
	b.WriteString("\tat " + f.Lexicon + fragment(f.Pointer) + "\n")
	b.WriteString("\twhy: " + lexicon.Printable(f.Why) + "\n")
	if f.Hint != "" {
		b.WriteString("\thint: " + lexicon.Printable(f.Hint) + "\n")
	}
	return b.String()
}
