// Package explain says what each diagnostic of the generator means, with an
// example that has the problem and one that has not. Tests hold every example
// against the generator, and the list against the diagnostics in the source.
package explain

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"mls-server/tools/lexgen/breaking"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/lint"
)

//go:embed rules.txt
var rulesText string

// Rule explains one diagnostic.
type Rule struct {
	// Code is the name in brackets that diagnostics end with.
	Code string
	// Meaning is one paragraph.
	Meaning string
	// Wrong and Right are examples.
	Wrong, Right Example
}

// Example is a piece of a lexicon.
type Example struct {
	// Kind is what the lines are: "file", "files" (one a line), "def" (a main
	// definition), "field" (a property) or "policy".
	Kind  string
	Lines []string
}

// Rules returns all rules of the generator, sorted by code.
func Rules() []Rule {
	var out []Rule
	for block := range strings.SplitSeq(rulesText, "== ") {
		if block == "" {
			continue
		}
		parts := strings.Split(block, "-- ")
		code, meaning, _ := strings.Cut(strings.TrimSpace(parts[0]), "\n")
		r := Rule{Code: code, Meaning: meaning}
		for _, p := range parts[1:] {
			lines := strings.Split(strings.TrimSpace(p), "\n")
			verdict, kind, _ := strings.Cut(lines[0], " ")
			e := Example{Kind: kind, Lines: lines[1:]}
			if verdict == "wrong" {
				r.Wrong = e
			} else {
				r.Right = e
			}
		}
		out = append(out, r)
	}
	return out
}

// Run is the command: it explains the codes that args name, or lists all of them.
// It returns the exit code.
func Run(args []string, out, errs io.Writer) int {
	fl := flag.NewFlagSet("explain", flag.ContinueOnError)
	fl.SetOutput(errs)
	fl.Usage = func() {
		fmt.Fprintln(errs, "usage: lexgen explain [CODE …]\n\nSays what a diagnostic means, with a wrong and a right example. CODE is the name in\nbrackets at the end of its line; without one, all codes are listed.")
	}
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if fl.NArg() == 0 {
		list(out)
		return 0
	}
	code := 0
	for i, name := range fl.Args() {
		if i > 0 {
			fmt.Fprintln(out)
		}
		if !explain(out, strings.Trim(name, "[]")) {
			fmt.Fprintf(errs, "lexgen explain: there is no diagnostic %q%s\n", name, near(name))
			code = 2
		}
	}
	return code
}

func near(name string) string {
	var all []string
	for _, r := range Rules() {
		all = append(all, r.Code)
	}
	for _, r := range lint.Rules() {
		all = append(all, r.ID)
	}
	for _, r := range breaking.Rules() {
		all = append(all, r.ID)
	}
	if n := lexicon.Nearest(name, all); n != "" {
		return "; did you mean " + n + "?"
	}
	return "; lexgen explain lists all"
}

func list(out io.Writer) {
	fmt.Fprintln(out, "gen, check and lint refuse, or warn of:")
	for _, r := range Rules() {
		first, _, _ := strings.Cut(r.Meaning, ". ")
		fmt.Fprintf(out, "  %-22s %s\n", r.Code, strings.TrimSuffix(first, ".")+".")
	}
	fmt.Fprintln(out, "\nlint advises on:")
	for _, r := range lint.Rules() {
		fmt.Fprintf(out, "  %-22s %s\n", r.ID, r.Doc)
	}
	fmt.Fprintln(out, "\nbreaking finds:")
	for _, r := range breaking.Rules() {
		fmt.Fprintf(out, "  %-22s %s\n", r.ID, r.Doc)
	}
}

// explain prints all rules of the name: lint and breaking share some.
func explain(out io.Writer, code string) bool {
	found := false
	if i := slices.IndexFunc(Rules(), func(r Rule) bool { return r.Code == code }); i >= 0 {
		r := Rules()[i]
		fmt.Fprintf(out, "%s\n\n%s\n\nWrong%s:\n%s\nRight%s:\n%s", r.Code, r.Meaning, r.Wrong.where(), r.Wrong.text(), r.Right.where(), r.Right.text())
		found = true
	}
	for _, r := range lint.Rules() {
		if r.ID == code {
			if found {
				fmt.Fprintln(out)
			}
			fmt.Fprintf(out, "%s (lint, %s)\n\n%s\n", r.ID, r.Severity, r.Doc)
			found = true
		}
	}
	for _, r := range breaking.Rules() {
		if r.ID == code {
			if found {
				fmt.Fprintln(out)
			}
			fmt.Fprintf(out, "%s (breaking)\n\n%s\n", r.ID, r.Doc)
			found = true
		}
	}
	return found
}

func (e Example) where() string {
	switch e.Kind {
	case "def":
		return ", a definition"
	case "field":
		return ", a property"
	case "policy":
		return ", a policy file"
	case "files":
		return ", in one folder"
	case "packages":
		return ", in a package each"
	}
	return ", a file"
}

func (e Example) text() string {
	var b strings.Builder
	for _, l := range e.Lines {
		b.WriteString("  " + l + "\n")
	}
	return b.String()
}
