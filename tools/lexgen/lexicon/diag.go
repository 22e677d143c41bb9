package lexicon

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Severity says whether a problem stops generation.
type Severity uint8

// The severities, from the worst down.
const (
	Error   Severity = iota + 1 // the lexicon is invalid
	Warning                     // it is valid, but probably not what was meant
	Note                        // something was left out on purpose
)

// String returns "error", "warning" or "note".
func (s Severity) String() string {
	switch s {
	case Error:
		return "error"
	case Warning:
		return "warning"
	case Note:
		return "note"
	}
	return "unknown"
}

// Diag is one problem with its place.
type Diag struct {
	Severity Severity
	// File is the path relative to the folder that was read, with slashes.
	File string
	// Line and Col count from 1; Col counts bytes. Both are 0 for a whole file.
	Line, Col int
	// Pointer is the RFC 6901 JSON pointer of the place.
	Pointer string
	// Rule is a short, stable name of the broken rule, for example "ref-unknown".
	Rule string
	// Message says what is wrong, Hint (may be "") what to write instead.
	Message, Hint string

	// dep is true of a problem in a lexicon of others.
	dep bool
}

// String formats the problem as file:line:col: severity: message (rule) at pointer.
func (d Diag) String() string {
	var b strings.Builder
	b.WriteString(d.File)
	if d.Line > 0 {
		b.WriteString(":" + strconv.Itoa(d.Line) + ":" + strconv.Itoa(d.Col))
	}
	b.WriteString(": " + d.Severity.String() + ": " + Printable(d.Message) + " [" + d.Rule + "]")
	if d.Pointer != "" {
		b.WriteString("\n\tat " + Printable(d.Pointer))
	}
	if d.Hint != "" {
		b.WriteString("\n\thint: " + Printable(d.Hint))
	}
	return b.String()
}

// Diags is a list of problems.
type Diags []Diag

// HasErrors reports whether any problem stops generation.
func (d Diags) HasErrors() bool {
	return slices.ContainsFunc(d, func(x Diag) bool { return x.Severity == Error })
}

// Sort orders the problems by place and removes repeated ones.
func (d *Diags) Sort() {
	slices.SortStableFunc(*d, func(a, b Diag) int {
		return cmp.Or(
			cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col),
			cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message),
		)
	})
	*d = slices.Compact(*d)
}

// Printable replaces what could forge or hide output on a terminal: line breaks,
// controls and characters that change the writing direction.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if Unprintable(r) {
			return '\uFFFD'
		}
		return r
	}, s)
}

// Unprintable reports whether r is a control, a line or paragraph separator, a
// character that changes the writing direction, or not a character at all.
func Unprintable(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return true
	case r == 0x061c, r >= 0x200b && r <= 0x200f, r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f:
		return true
	case r == 0xfeff, r == 0xfffd, r == 0xfffe, r == 0xffff:
		return true
	}
	return false
}

// Nearest returns the candidate that is most like word, or "" when none is like it.
func Nearest(word string, candidates []string) string {
	best, bestDist := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		if strings.EqualFold(c, word) {
			return c
		}
		if d := editDistance(strings.ToLower(word), strings.ToLower(c)); d < bestDist {
			best, bestDist = c, d
		}
	}
	return best
}

// editDistance is the optimal string alignment distance: swapping two neighbours counts once.
func editDistance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
