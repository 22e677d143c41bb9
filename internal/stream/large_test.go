package stream

import "testing"

// The oldest large frames on their way are given up, and no more of them than needed.
func TestLargeWritesGiveUpTheOldest(t *testing.T) {
	t.Parallel()
	const size = largeBudget / 8
	var l largeWrites
	var open []*largeWrite
	begin := func(n int) {
		for range n {
			open = append(open, l.begin(size))
		}
	}
	given := func() int {
		n := 0
		for i, w := range open {
			if w.given.Load() {
				if i != n {
					t.Errorf("write %d was given up before an older one", i)
				}
				n++
			}
		}
		return n
	}
	begin(8)
	if n := given(); n != 0 {
		t.Errorf("%d given up within the budget", n)
	}
	begin(2)
	if n := given(); n != 2 {
		t.Errorf("%d given up for two too many", n)
	}
	for _, w := range open {
		l.end(w)
	}
	if l.bytes != 0 || len(l.open) != 0 {
		t.Errorf("%d bytes of %d writes are left", l.bytes, len(l.open))
	}
	if w := l.begin(2 * largeBudget); w.given.Load() {
		t.Error("a frame that is alone was given up")
	}
}
