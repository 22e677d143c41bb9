package main

import (
	"fmt"
	"io"

	"mls-server/tools/lexgen/breaking"
	"mls-server/tools/lexgen/lexicon"
	"mls-server/tools/lexgen/lint"
)

// exitError ends a run with that code; everything has been printed already.
type exitError int

func (c exitError) Error() string { return fmt.Sprintf("exit code %d", int(c)) }

// coded adapts a command that returns an exit code.
func coded(f func(args []string, out, errs io.Writer) int) func([]string, io.Writer, io.Writer) error {
	return func(args []string, out, errs io.Writer) error {
		if code := f(args, out, errs); code != 0 {
			return exitError(code)
		}
		return nil
	}
}

// explain prints the documentation of the rules that are named.
func explain(args []string, out, errs io.Writer) int {
	docs := map[string]string{} // a rule may be one of both commands
	var ids []string
	for _, r := range lint.Rules() {
		docs[r.ID] = "\n\tlint, " + r.Severity.String() + ": " + r.Doc
		ids = append(ids, r.ID)
	}
	for _, r := range breaking.Rules() {
		docs[r.ID] += "\n\tbreaking: " + r.Doc
		ids = append(ids, r.ID)
	}
	if len(args) == 0 || args[0] == "--help" || args[0] == "-h" {
		fmt.Fprintln(errs, "usage: lexgen explain RULE...\n\nlexgen lint --rules and lexgen breaking --rules list them.")
		if len(args) == 0 {
			return 2
		}
		return 0
	}
	code := 0
	for _, id := range args {
		if doc, ok := docs[id]; ok {
			fmt.Fprintln(out, id+doc)
			continue
		}
		code = 2
		hint := ""
		if near := lexicon.Nearest(id, ids); near != "" {
			hint = "; did you mean " + near + "?"
		}
		fmt.Fprintf(errs, "lexgen explain: there is no rule %q%s\n", id, hint)
	}
	return code
}
