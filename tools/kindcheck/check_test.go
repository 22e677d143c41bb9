package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var toy = where{
	dir: "testdata/toy", module: "toy", domain: "toy/domain", api: "toy/api", handlers: "toy/handlers", runtime: "toy/runtime",
	roots: []string{"toy/cmd"},
}

// TestToy follows errors through each construct that the analysis knows.
func TestToy(t *testing.T) {
	t.Parallel()
	r, err := check(toy)
	if err != nil {
		t.Fatal(err)
	}
	reached := map[string]string{
		"toy.direct": "Gone NotEnoughResources Taken", "toy.wrapped": "Gone", "toy.converted": "Taken", "toy.closure": "Limit Taken", "toy.retried": "Gone",
		"toy.queue": "Gone Taken", "toy.violation": "Taken", "toy.unproduced": "Gone", "toy.unnamed": "", "toy.unknown": "",
	}
	for nsid, want := range reached {
		if got := strings.Join(r.reached[nsid], " "); got != want {
			t.Errorf("%s answers %q, want %q", nsid, got, want)
		}
	}
	var got []string
	for _, f := range r.findings {
		got = append(got, f.method+": "+f.text)
	}
	slices.Sort(got)
	want := []string{
		"toy.closure: may answer Limit (ErrLimit), which its lexicon does not declare",
		"toy.closure: may answer Taken (ErrTaken), which its lexicon does not declare",
		"toy.computed: computes a kind, which the analysis cannot name",
		"toy.computed: may answer Gone (ErrGone), which its lexicon does not declare",
		"toy.direct: may answer Taken (ErrTaken), which its lexicon does not declare",
		"toy.queue: may answer Gone (ErrGone), which its lexicon does not declare",
		"toy.queue: may answer Taken (ErrTaken), which its lexicon does not declare",
		"toy.unknown: calls a function that the analysis cannot find",
		"toy.unnamed: may fail with ErrStale, which the table of names lacks",
		"toy.unproduced: declares Taken, which nothing produces",
	}
	if !slices.Equal(got, want) {
		t.Errorf("findings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.Equal(r.general, []string{"NotEnoughResources"}) {
		t.Errorf("general: %v", r.general)
	}
}

// TestLimits holds what doc.go says the analysis does not understand: what it finds although it
// cannot happen, what it does not see, and what it says it cannot follow.
func TestLimits(t *testing.T) {
	t.Parallel()
	r, err := check(toy)
	if err != nil {
		t.Fatal(err)
	}
	for nsid, want := range map[string]string{
		"toy.compared": "Gone", "toy.asked": "Gone", "toy.early": "Gone", // too much
		"toy.panics": "", "toy.hidden": "", // too little
	} {
		if got := strings.Join(r.reached[nsid], " "); got != want {
			t.Errorf("%s answers %q, want %q", nsid, got, want)
		}
	}
	const computes = "computes a kind, which the analysis cannot name"
	if !slices.ContainsFunc(r.findings, func(f finding) bool { return f.method == "toy.computed" && f.text == computes }) {
		t.Error("a computed kind is not found")
	}
}

// TestServer: the server has no findings, and the fault that made registerDevice answer 500 at the
// cap of key packages is found when the declaration is taken away.
func TestServer(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	r, err := check(server(root))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.findings {
		t.Error(f)
	}
	table := filepath.Join(root, "internal/gen/mlsapi/methods.go")
	source, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	const declared = ", ErrTooManyDevices, ErrTooManyKeyPackages}"
	undeclared := strings.Replace(string(source), declared, ", ErrTooManyDevices}", 1)
	if undeclared == string(source) {
		t.Fatalf("registerDevice does not declare %s", declared)
	}
	w := server(root)
	w.overlay = map[string][]byte{table: []byte(undeclared)}
	if r, err = check(w); err != nil {
		t.Fatal(err)
	}
	if len(r.findings) == 0 {
		t.Error("nothing was found without the declaration")
	}
	for _, f := range r.findings {
		if f.method != "blue.catbird.mls.registerDevice" || !strings.Contains(f.text, "TooManyKeyPackages (ErrTooManyKeyPackages)") {
			t.Errorf("without the declaration: %v", f)
		}
	}
}
