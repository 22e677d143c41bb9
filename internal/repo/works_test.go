package repo_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"mls-server/internal/e2e/seen"
)

// TestWhatWorks: the table of docs/clients.md is what tests have seen clients do, as they keep it
// in docs/clients.json, and each of these tests is there and still looks. With -update the table is
// written anew.
func TestWhatWorks(t *testing.T) {
	t.Parallel()
	var known map[string]map[string][]string
	if err := json.Unmarshal([]byte(read(t, "docs/clients.json")), &known); err != nil || len(known) < 10 {
		t.Fatal(err, len(known))
	}
	for by := range known {
		if source := sourceOf(t, by); !strings.Contains(source, "seen.Works(") && !strings.Contains(source, " works(import.meta.url") {
			t.Errorf("%s keeps nothing in docs/clients.json", by)
		}
	}
	page := read(t, "docs/clients.md")
	head, rest, ok := strings.Cut(page, "\n## What works\n")
	intro, rest, begun := strings.Cut(rest, "\n| client |")
	_, tail, ended := strings.Cut(rest, "\n\n")
	if !ok || !begun || !ended {
		t.Fatal("docs/clients.md has no table under What works")
	}
	made := head + "\n## What works\n" + intro + "\n" + works(t, known) + "\n" + tail
	if made == page {
		return
	}
	if !*update {
		t.Fatal("the table of docs/clients.md is not that of docs/clients.json; run go test ./internal/repo -update")
	}
	if err := os.WriteFile(filepath.Join(root, "docs/clients.md"), []byte(made), 0o644); err != nil {
		t.Fatal(err)
	}
}

// works is the table: client by capability.
func works(t *testing.T, known map[string]map[string][]string) string {
	t.Helper()
	does, by, through := map[string]map[string]bool{}, map[string][]string{}, map[string]bool{}
	for test, clients := range known {
		name, _, _ := strings.Cut(test, "/")
		if strings.HasSuffix(test, ".mjs") {
			name = test
		}
		for client, capabilities := range clients {
			if does[client] == nil {
				does[client] = map[string]bool{}
			}
			by[client] = append(by[client], "`"+name+"`")
			for _, c := range capabilities {
				does[client][c] = true
				if strings.HasPrefix(c, seen.Through("")) {
					through[c] = true
				}
			}
		}
	}
	columns := append([]string{seen.Calls}, slices.Sorted(maps.Keys(through))...)
	columns = append(columns, seen.Streams, seen.Sockets, seen.Sealed, seen.Opaque, seen.Verified)
	var b strings.Builder
	fmt.Fprintf(&b, "| client | %s | seen by |\n|---|%s---|\n", strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
	for _, client := range slices.Sorted(maps.Keys(does)) {
		cells := make([]string, 0, len(columns))
		for _, c := range columns {
			cell := ""
			if does[client][c] {
				cell = "yes"
			}
			cells = append(cells, cell)
			delete(does[client], c)
		}
		for c := range does[client] {
			t.Errorf("%s: %q is no column of the table", client, c)
		}
		slices.Sort(by[client])
		fmt.Fprintf(&b, "| %s | %s | %s |\n", client, strings.Join(cells, " | "), strings.Join(slices.Compact(by[client]), ", "))
	}
	return b.String()
}

// sourceOf is the body of a Go test, or a file of tests in JavaScript.
func sourceOf(t *testing.T, by string) string {
	t.Helper()
	if strings.HasSuffix(by, ".mjs") {
		return read(t, by)
	}
	pkg, name, _ := strings.Cut(by, ".")
	name, _, _ = strings.Cut(name, "/")
	for _, file := range filesBelow(t, ".", "_test.go") {
		text := read(t, file)
		if filepath.Base(filepath.Dir(file)) != pkg {
			continue
		}
		if _, body, ok := strings.Cut(text, "\nfunc "+name+"(t *testing.T) {\n"); ok {
			body, _, _ = strings.Cut(body, "\n}\n")
			return body
		}
	}
	t.Errorf("docs/clients.json names %s, which is not there", by)
	return ""
}
