package emit

import (
	"strings"
	"unicode/utf8"

	"github.com/dave/jennifer/jen"

	"mls-server/tools/lexgen/lexicon"
)

// CommentWidth is how long the text of a comment's line may be, so that it ends within 100 columns
// behind a tab and the slashes.
const CommentWidth = 93

// comment writes untrusted text as line comments: whatever breaks a line in Go or
// on a screen breaks it here too, and every line starts with "// ". The space keeps
// text from being a directive such as //go:build.
func comment(text string) *jen.Statement {
	s := &jen.Statement{}
	for i, line := range commentLines(text) {
		if i > 0 {
			s.Line()
		}
		// jennifer writes text that starts with // as it is, and it has no line breaks.
		s.Comment(strings.TrimRight("// "+line, " "))
	}
	return s
}

// doc is comment for the documentation of an identifier, followed by a line break.
func doc(parts ...string) *jen.Statement {
	var text []string
	for _, p := range parts {
		if strings.TrimSpace(p) != "" {
			text = append(text, p)
		}
	}
	return comment(strings.Join(text, "\n\n")).Line()
}

func commentLines(text string) []string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.Map(func(r rune) rune {
		switch r {
		case '\n', '\r', '\v', '\f', 0x85, 0x2028, 0x2029:
			return '\n'
		case '\t':
			return ' '
		case utf8.RuneError:
			return '?'
		}
		if lexicon.Unprintable(r) {
			return -1
		}
		return r
	}, text)
	var out []string
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		out = append(out, wrap(line)...)
	}
	// Several empty lines become one.
	kept := out[:0]
	for i, l := range out {
		if l == "" && (i == 0 || out[i-1] == "") {
			continue
		}
		kept = append(kept, l)
	}
	for i := range kept {
		alone := (i == 0 || kept[i-1] == "") && (i+1 == len(kept) || kept[i+1] == "")
		if n := len(kept[i]); n > 0 && alone && letterOrDigit(kept[i][n-1]) {
			// Without a full stop gofmt takes the line for a heading.
			kept[i] += "."
		}
	}
	return kept
}

func letterOrDigit(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

func wrap(line string) []string {
	var out []string
	cur := ""
	for w := range strings.FieldsSeq(line) {
		if cur != "" && len(cur)+1+len(w) > CommentWidth {
			out = append(out, cur)
			cur = ""
		}
		if cur != "" {
			cur += " "
		}
		cur += w
	}
	return append(out, cur)
}
