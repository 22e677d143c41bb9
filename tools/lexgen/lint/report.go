package lint

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"mls-server/tools/lexgen/lexicon"
)

// few is how many findings of one rule are listed unless all are asked for, and few enough not to
// be counted instead.
const few = 3

// reporter prints findings.
type reporter struct {
	// least is the mildest severity that is listed.
	least lexicon.Severity
	// strict counts warnings as errors.
	strict bool
	// all lists every finding of a rule.
	all bool
}

// report lists errors by their place, then the rest by rule, rare ones first: a rule that a set
// breaks everywhere must not hide the others. It returns the exit code.
func (r reporter) report(w io.Writer, diags lexicon.Diags, files int) int {
	var count [lexicon.Note + 1]int
	byRule := map[string]lexicon.Diags{}
	for _, d := range diags {
		if r.strict && d.Severity == lexicon.Warning {
			d.Severity = lexicon.Error
		}
		count[d.Severity]++
		switch {
		case d.Severity == lexicon.Error:
			fmt.Fprintln(w, d)
		case d.Severity <= r.least:
			byRule[d.Rule] = append(byRule[d.Rule], d)
		}
	}
	rules := make([]lexicon.Diags, 0, len(byRule))
	for _, found := range byRule {
		rules = append(rules, found)
	}
	slices.SortFunc(rules, func(a, b lexicon.Diags) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a[0].Rule, b[0].Rule))
	})
	for _, found := range rules {
		r.rule(w, found)
	}
	fmt.Fprintf(w, "%s: %s, %s, %s\n", number(files, "lexicon"), number(count[lexicon.Error], "error"), number(count[lexicon.Warning], "warning"), number(count[lexicon.Note], "note"))
	if count[lexicon.Error] > 0 {
		return 1
	}
	return 0
}

// rule lists what one rule found, or the first of it and how much more there is.
func (r reporter) rule(w io.Writer, found lexicon.Diags) {
	listed := found
	if !r.all && len(found) > 2*few {
		listed = found[:few]
	}
	for _, d := range listed {
		fmt.Fprintln(w, d)
	}
	if more := len(found) - len(listed); more > 0 {
		fmt.Fprintf(w, "… and %d more of %s; --all lists them\n", more, found[0].Rule)
	}
}
