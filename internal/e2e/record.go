package e2e

import (
	"cmp"
	"slices"
	"sync"

	"mls-server/internal/gen/mlsapi"
)

// Pair is an error that a method has answered with.
type Pair struct{ Method, Error string }

// recorder holds the pairs that any test of this process has seen.
var recorder = struct {
	mu   sync.Mutex
	seen map[Pair]int
}{seen: map[Pair]int{}}

func record(method, name string) {
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	recorder.seen[Pair{method, name}]++
}

// Unproduced lists the pairs that the lexicons declare and no request of this process has produced
// yet.
func Unproduced() []Pair {
	recorder.mu.Lock()
	defer recorder.mu.Unlock()
	var missing []Pair
	for _, m := range mlsapi.Methods() {
		for _, name := range m.ErrorNames() {
			if p := (Pair{m.NSID, name}); recorder.seen[p] == 0 {
				missing = append(missing, p)
			}
		}
	}
	slices.SortFunc(missing, func(a, b Pair) int {
		return cmp.Or(cmp.Compare(a.Method, b.Method), cmp.Compare(a.Error, b.Error))
	})
	return missing
}
