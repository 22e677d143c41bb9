package repo_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

var program = regexp.MustCompile("(?ms)^```js\n(.*?)^```$")

// TestClientPage: every line of program in docs/clients.md stands in one of clients/examples, which
// make e2e-pds runs, and every test that the page names is there.
func TestClientPage(t *testing.T) {
	t.Parallel()
	page := read(t, "docs/clients.md")
	var lines []string
	for _, name := range []string{"mls.mjs", "chat.mjs", "chat-api.mjs", "oauth.mjs"} {
		for line := range strings.Lines(read(t, "clients/examples/"+name)) {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	pieces := program.FindAllStringSubmatch(page, -1)
	if len(pieces) < 5 {
		t.Errorf("%d pieces of program", len(pieces))
	}
	for _, m := range pieces {
		for line := range strings.Lines(m[1]) {
			if line = strings.TrimSpace(line); !slices.Contains(lines, line) {
				t.Errorf("no example has the line %s", line)
			}
		}
	}

	known, named := tests(t), 0
	for _, cells := range rows(page) {
		for _, m := range code.FindAllStringSubmatch(cells[len(cells)-1], -1) {
			if !strings.Contains(m[1], ".Test") {
				continue
			}
			named++
			if _, ok := known[m[1]]; !ok {
				t.Errorf("there is no test %s", m[1])
			}
		}
	}
	if named < 5 {
		t.Errorf("the page names %d tests", named)
	}
}
