package stream

import (
	"testing"

	"mls-server/internal/store"
)

func testCursors(tb testing.TB, key byte) *cursors {
	tb.Helper()
	c, err := newCursors(append(make([]byte, 31), key))
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestCursorsRoundTrip(t *testing.T) {
	t.Parallel()
	c, other := testCursors(t, 1), testCursors(t, 2)
	seen := map[string]bool{}
	for _, p := range []store.LogCursor{
		{},
		{Generation: 1, Xid: 1, Position: 1},
		{Generation: 1, Xid: 1, Position: 2},
		{Generation: 1, Xid: 2, Position: 1},
		{Generation: oldGenerationMax, Xid: oldCountMax, Position: oldCountMax},
		{Generation: wideGenerationMin},
		{Generation: wideGenerationMin, Xid: 1, Position: 1},
		{Generation: 1_795_728_412, Xid: 1<<12 + 1, Position: 1<<32 + 1},
		{Generation: wideGenerationMax, Xid: wideCountMax, Position: wideCountMax},
	} {
		text := c.encode(p)
		if got, err := c.decode(text); err != nil || got != p {
			t.Errorf("%v: %v, %v", p, got, err)
		}
		if got, err := other.decode(text); err == nil {
			t.Errorf("another log takes the cursor of %v for %v", p, got)
		}
		if len(text) != 22 || seen[text] {
			t.Errorf("cursor %q of %v", text, p)
		}
		seen[text] = true
	}
}

// Cursors that were given out while generations were counted from 1 stay valid.
func TestCursorsOfCountedGenerations(t *testing.T) {
	t.Parallel()
	c := testCursors(t, 1)
	const given = "ZWLg_b3aES71gh_iPv1rLg"
	if p, err := c.decode(given); err != nil || p != (store.LogCursor{Generation: 3, Xid: 1_234_567, Position: 89_012}) {
		t.Errorf("read as %v, %v", p, err)
	}
}

func FuzzCursor(f *testing.F) {
	c := testCursors(f, 1)
	for _, s := range []string{"", "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAB", "1-2-3", c.encode(store.LogCursor{Generation: 1, Xid: 7, Position: 9}), c.encode(store.LogCursor{Generation: 1_795_728_412, Xid: 7, Position: 9})} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := c.decode(s)
		if err != nil {
			return
		}
		if p.Generation < 0 || p.Xid < 0 || p.Position < 0 || c.encode(p) != s {
			t.Errorf("%q is read as %v, which is written %q", s, p, c.encode(p))
		}
	})
}
