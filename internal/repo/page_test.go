package repo_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "wrap the pages anew")

// columns is the width of prose in pages and of Go comments.
const columns = 100

// generated pages are as wide as what they are made from.
var generatedPages = []string{"docs/api", "docs/licences.md", "bench/REPORT.md"}

// pages returns the names of all hand-written pages, relative to the root, with slashes.
func pages(t *testing.T) []string {
	t.Helper()
	return files(t, ".md")
}

// files returns the names of all hand-written files that end like ext.
func files(t *testing.T, ext string) []string {
	t.Helper()
	return filesBelow(t, ".", ext)
}

// filesBelow returns the files below a folder that end like ext.
func filesBelow(t *testing.T, folder, ext string) []string {
	t.Helper()
	var found []string
	err := fs.WalkDir(os.DirFS(root), folder, func(name string, d fs.DirEntry, err error) error {
		skip := name != folder && (strings.HasPrefix(d.Name(), ".") || slices.Contains(generatedPages, name) ||
			slices.Contains([]string{"node_modules", "testdata", "bin", "gen"}, d.Name()))
		switch {
		case err != nil:
			return err
		case skip && d.IsDir():
			return fs.SkipDir
		case !skip && strings.HasSuffix(name, ext):
			found = append(found, name)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s files in %s below %s: %v", ext, folder, root, err)
	}
	return found
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestPagesWrap holds the width of prose: tables, code, headings, HTML and single words that
// are too long stand as they are. With -update, paragraphs that are too wide are wrapped.
func TestPagesWrap(t *testing.T) {
	t.Parallel()
	for _, name := range pages(t) {
		text := read(t, name)
		wrapped := wrap(text)
		if wrapped == text {
			continue
		}
		if *update {
			if err := os.WriteFile(filepath.Join(root, name), []byte(wrapped), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		old, lines := strings.Split(text, "\n"), strings.Split(wrapped, "\n")
		for i := range old {
			if i >= len(lines) || old[i] != lines[i] {
				t.Errorf("%s:%d is wider than %d columns; run go test ./internal/repo -update", name, i+1, columns)
				break
			}
		}
	}
}

func TestWrap(t *testing.T) {
	t.Parallel()
	word := strings.Repeat("w", 60)
	for _, c := range []struct{ name, in, want string }{
		{"narrow lines stay", "one\ntwo\n", "one\ntwo\n"},
		{"paragraph", word + " " + word + "\nend\n", word + "\n" + word + " end\n"},
		{"a word cannot be broken", word + word + "\n", word + word + "\n"},
		{"list", "- " + word + " " + word + "\n  end\n- next\n", "- " + word + "\n  " + word + " end\n- next\n"},
		{"numbered", "10. " + word + " " + word + "\n", "10. " + word + "\n    " + word + "\n"},
		{"quote", "> " + word + " " + word + "\n", "> " + word + "\n> " + word + "\n"},
		{"table", "| " + word + " | " + word + " |\n", "| " + word + " | " + word + " |\n"},
		{"heading", "# " + word + " " + word + "\n", "# " + word + " " + word + "\n"},
		{"code", "```\n" + word + " " + word + "\n```\n", "```\n" + word + " " + word + "\n```\n"},
		{"HTML", "<img alt=\"" + word + " " + word + "\">\n", "<img alt=\"" + word + " " + word + "\">\n"},
		{"a line must not become a list", word + " " + strings.Repeat("v", 38) + " - x\n", word + "\n" + strings.Repeat("v", 38) + " - x\n"},
	} {
		if got := wrap(c.in); got != c.want {
			t.Errorf("%s:\n%s\nwant:\n%s", c.name, got, c.want)
		}
	}
}

var (
	// item is the start of a list item or quote: indentation, then the marker.
	item = regexp.MustCompile(`^( *)(?:([-*] |\d+\. )|(> ?))`)
	// starts is text that must not come to stand at the start of a line.
	starts = regexp.MustCompile(`^([-*+>#|]|\d+[.)])`)
)

// wrap wraps the paragraphs of a page that have a line wider than columns.
func wrap(text string) string {
	var out, block []string
	code := false
	flush := func() {
		out = append(out, paragraph(block)...)
		block = nil
	}
	for line := range strings.SplitSeq(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "```"):
			flush()
			code = !code
			out = append(out, line)
		case code, trimmed == "", strings.HasPrefix(trimmed, "|"), strings.HasPrefix(trimmed, "#"),
			strings.HasPrefix(trimmed, "<"), strings.HasPrefix(line, "    "):
			flush()
			out = append(out, line)
		case item.MatchString(line) && (!strings.HasPrefix(line, "> ") || !quoted(block)):
			flush()
			block = []string{line}
		default:
			block = append(block, line)
		}
	}
	flush()
	return strings.Join(out, "\n")
}

// quoted reports whether the lines are a quotation.
func quoted(block []string) bool { return len(block) > 0 && strings.HasPrefix(block[0], "> ") }

// paragraph wraps the lines of one paragraph or list item when one of them is too wide.
func paragraph(lines []string) []string {
	if !slices.ContainsFunc(lines, func(l string) bool { return utf8.RuneCountInString(l) > columns }) {
		return lines
	}
	var first, rest string
	if m := item.FindStringSubmatch(lines[0]); m != nil {
		first, rest = m[0], strings.Repeat(" ", len(m[0]))
		if m[3] != "" {
			rest = m[0]
		}
	} else {
		first = lines[0][:len(lines[0])-len(strings.TrimLeft(lines[0], " "))]
		rest = first
	}
	var words []string
	for i, l := range lines {
		if i == 0 {
			l = l[len(first):]
		} else if strings.HasPrefix(rest, ">") {
			l = strings.TrimPrefix(l, ">")
		}
		words = append(words, strings.Fields(l)...)
	}
	var out []string
	line := first + words[0]
	for i, w := range words[1:] {
		next := ""
		if i+2 < len(words) {
			next = words[i+2]
		}
		// A word that would begin a list stays with the one before it.
		fits := utf8.RuneCountInString(line)+1+utf8.RuneCountInString(w) <= columns
		if fits && starts.MatchString(next) && utf8.RuneCountInString(line)+2+utf8.RuneCountInString(w+next) > columns {
			fits = false
		}
		if fits {
			line += " " + w
			continue
		}
		out = append(out, line)
		line = rest + w
	}
	return append(out, line)
}
