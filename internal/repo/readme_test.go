package repo_test

import (
	"os"
	"strings"
	"testing"

	"mls-server/internal/gen/mlsapi"
)

// The README names every method, once, where it lists them.
func TestReadmeNamesEveryMethod(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, list, found := strings.Cut(string(data), "## Endpoints\n")
	if !found {
		t.Fatal("README.md has no list of endpoints")
	}
	words := strings.FieldsFunc(list, func(r rune) bool { return r < 'A' || r > 'z' })
	named := map[string]int{}
	for _, w := range words {
		named[w]++
	}
	for _, m := range mlsapi.Methods() {
		name := m.NSID[strings.LastIndexByte(m.NSID, '.')+1:]
		if named[name] != 1 {
			t.Errorf("README.md names %s %d times", name, named[name])
		}
	}
}
