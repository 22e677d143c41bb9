package repo_test

import (
	"slices"
	"strings"
	"testing"
)

// TestUnits: systemd ends no migration that takes long, and no server migrates when it starts.
func TestUnits(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][]string{
		"deploy/mls-server-migrate.service": {"Type=oneshot", "ExecStart=/usr/local/bin/mls-server migrate", "TimeoutStartSec=infinity"},
		"deploy/mls-server.service":         {"Type=notify", "ExecStart=/usr/local/bin/mls-server serve"},
	} {
		lines := strings.Split(read(t, name), "\n")
		for _, line := range want {
			if !slices.Contains(lines, line) {
				t.Errorf("%s does not say %s", name, line)
			}
		}
		for _, line := range lines {
			if strings.HasPrefix(line, "ExecStartPre=") {
				t.Errorf("%s: %s", name, line)
			}
		}
	}
}
