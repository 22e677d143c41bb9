package obs_test

import (
	"os"
	"strings"
	"testing"

	"mls-server/internal/obs"
)

// OPERATIONS.md explains every metric, and no other.
func TestOperationsNamesEveryMetric(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../OPERATIONS.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	known := map[string]bool{}
	for _, name := range obs.Names() {
		known[name] = true
		if !strings.Contains(text, "`"+name) {
			t.Errorf("%s is not in OPERATIONS.md", name)
		}
	}
	for _, field := range strings.FieldsFunc(text, func(r rune) bool { return r == '`' || r == '{' || r == ' ' || r == '|' || r == ',' }) {
		if strings.HasPrefix(field, "mls_") && !known[field] {
			t.Errorf("OPERATIONS.md names %s, which does not exist", field)
		}
	}
}
