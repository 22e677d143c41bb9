package seen

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// TestKeep: what a test saw is written when it is asked for, by several at once, and differences
// are told when it is not: something new, something that is gone, another version.
func TestKeep(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "clients.json")
	if err := os.WriteFile(path, []byte("{}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	saw := func(capabilities ...string) map[string][]string {
		return map[string][]string{"client 1": capabilities}
	}
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			if err := keep(path, fmt.Sprintf("pkg.Test%d", i), saw(Streams, Calls), true); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	for i := range 8 {
		if err := keep(path, fmt.Sprintf("pkg.Test%d", i), saw(Calls, Streams), false); err != nil {
			t.Error(err)
		}
	}
	for name, clients := range map[string]map[string][]string{
		"something new":   saw(Calls, Streams, Sealed),
		"something less":  saw(Calls),
		"another version": {"client 2": {Calls, Streams}},
		"another client":  {"client 1": {Calls, Streams}, "other 1": {Calls}},
	} {
		if err := keep(path, "pkg.Test0", clients, false); err == nil {
			t.Errorf("%s is not noticed", name)
		}
	}
	if err := keep(path, "pkg.Test0", saw(Calls), true); err != nil {
		t.Error(err)
	}
	if err := keep(path, "pkg.Test0", saw(Calls), false); err != nil {
		t.Error(err)
	}
	if err := keep(path, "pkg.Test8", saw(Calls), false); err == nil {
		t.Error("a test that is not known is not noticed")
	}
}
