package capacity_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"mls-server/bench/internal/capacity"
)

func read(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile("../../../docs/capacity.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// TestPage: the results of the page are those of its tables.
func TestPage(t *testing.T) {
	t.Parallel()
	page := read(t)
	computed, err := capacity.Update([]byte(page))
	if err != nil {
		t.Fatal(err)
	}
	if string(computed) != page {
		t.Error("docs/capacity.md is not what its tables give; run cd bench && go run ./capacity")
	}
}

// TestAssumptionsCount: who changes a number gets other results, in proportion where it is one.
func TestAssumptionsCount(t *testing.T) {
	t.Parallel()
	page := read(t)
	for name, rows := range map[string][]string{
		capacity.Messages:     {"sends a second at the peak", "cores for servers", "bytes stored a day for each user"},
		capacity.Online:       {"streams at the peak", "memory for streams"},
		capacity.SendDatabase: {"cores for the database"},
		capacity.Usable:       {"cores for servers", "cores for the database"},
		capacity.Copies:       {"stored at the steady state"},
	} {
		changed, err := capacity.Update(capacity.Note([]byte(page), capacity.Figures{name: 77}))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if line(t, page, row) == line(t, string(changed), row) {
				t.Errorf("%q does not move %q", name, row)
			}
		}
	}
}

// TestIncompletePages: what a page lacks is said.
func TestIncompletePages(t *testing.T) {
	t.Parallel()
	page := read(t)
	without := strings.Replace(page, line(t, page, capacity.Peak), "", 1)
	if _, err := capacity.Update([]byte(without)); !errors.Is(err, capacity.ErrMissing) || !strings.Contains(err.Error(), capacity.Peak) {
		t.Error(err)
	}
	if _, err := capacity.Update([]byte(strings.Replace(page, "<!-- end -->", "", 1))); !errors.Is(err, capacity.ErrMarks) {
		t.Error(err)
	}
}

func line(t *testing.T, page, name string) string {
	t.Helper()
	for l := range strings.SplitSeq(page, "\n") {
		if strings.HasPrefix(l, "| "+name) {
			return l
		}
	}
	t.Fatalf("no row %q", name)
	return ""
}
