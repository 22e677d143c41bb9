package lint

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"mls-server/tools/lexgen/lexicon"
)

// Run is the command "lexgen lint". It returns 0 when there is no error (and
// with --strict no warning), 1 when there is one, and 2 when it could not check.
func Run(args []string, stdout, stderr io.Writer) int {
	fs := flag.NewFlagSet("lexgen lint", flag.ContinueOnError)
	fs.SetOutput(stderr)
	in := fs.String("in", "lexicons", "folder with the lexicons")
	policy := fs.String("policy", "", "policy file, for the sizes of request bodies (default: policy.json in the folder, if there is one)")
	strict := fs.Bool("strict", false, "treat warnings as errors")
	notes := fs.Bool("notes", false, "list notes too")
	quiet := fs.Bool("quiet", false, "list errors only")
	rules := fs.Bool("rules", false, "list the rules and exit")
	named := fs.String("compat", "", `"named-unions" accepts definitions of type union`)
	fs.Usage = func() {
		fmt.Fprint(stderr, "usage: lexgen lint [--in DIR] [--policy FILE] [--strict] [--quiet|--notes] [--rules]\n\nChecks lexicons against the rules of style.\n\n")
		fs.PrintDefaults()
	}
	switch err := fs.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case fs.NArg() > 0 || *named != "" && *named != "named-unions":
		fs.Usage()
		return 2
	}
	if *rules {
		for _, r := range Rules() {
			fmt.Fprintf(stdout, "%-24s %-8s %s\n", r.ID, r.Severity, r.Doc)
		}
		return 0
	}
	caps, exclude, err := bodyCaps(*in, *policy)
	if err != nil {
		fmt.Fprintln(stderr, "lexgen lint:", err)
		return 2
	}
	set, diags, err := lexicon.Load(os.DirFS(*in), lexicon.Options{Exclude: exclude, NamedUnions: *named != ""})
	if err != nil {
		fmt.Fprintln(stderr, "lexgen lint:", err)
		return 2
	}
	if !diags.HasErrors() {
		diags = append(diags, Check(set, Options{BodyCap: func(id string) int64 { return caps[id].MaxBody }})...)
		diags.Sort()
	}
	least := lexicon.Warning
	switch {
	case *quiet:
		least = lexicon.Error
	case *notes:
		least = lexicon.Note
	}
	return report(stdout, diags, len(set.Files), *strict, least)
}

func report(w io.Writer, diags lexicon.Diags, files int, strict bool, least lexicon.Severity) int {
	var count [lexicon.Note + 1]int
	for _, d := range diags {
		if strict && d.Severity == lexicon.Warning {
			d.Severity = lexicon.Error
		}
		count[d.Severity]++
		if d.Severity <= least {
			fmt.Fprintln(w, d)
		}
	}
	fmt.Fprintf(w, "%s: %s, %s, %s\n", number(files, "lexicon"), number(count[lexicon.Error], "error"), number(count[lexicon.Warning], "warning"), number(count[lexicon.Note], "note"))
	if count[lexicon.Error] > 0 {
		return 1
	}
	return 0
}

func number(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

type methodPolicy struct {
	MaxBody int64 `json:"maxBody"`
}

// bodyCaps reads the sizes of request bodies from the policy file, and tells its
// place inside of the folder, where it must not be taken for a lexicon.
func bodyCaps(in, policy string) (map[string]methodPolicy, string, error) {
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
