package main

import "testing"

// TestReplace: what is the module's path changes, what only looks like it stays.
func TestReplace(t *testing.T) {
	t.Parallel()
	const to = "host.example/owner/name"
	for _, c := range []struct {
		from string
		bare bool
		text string
		want string
	}{
		{"mls-server", false, `import "mls-server/lexrt"`, `import "host.example/owner/name/lexrt"`},
		{"mls-server", false, "'^mls-server/(cmd|internal)'", "'^host.example/owner/name/(cmd|internal)'"},
		{"mls-server", false, "mls-server/cmd/mls-server", "host.example/owner/name/cmd/mls-server"},
		{"mls-server", false, "cmd/mls-server/main.go, bin/mls-server", "cmd/mls-server/main.go, bin/mls-server"},
		{"mls-server", false, "/var/cache/mls-server/postgres", "/var/cache/mls-server/postgres"},
		{"mls-server", false, `"mls-server device change"`, `"mls-server device change"`},
		{"mls-server", false, "my-mls-server/lexrt", "my-mls-server/lexrt"},
		{"mls-server", false, "module mls-server", "module mls-server"},
		{"mls-server", true, "module mls-server\n", "module host.example/owner/name\n"},
		{"mls-server", true, "replace mls-server => ..", "replace host.example/owner/name => .."},
		{"mls-server", true, "mls-server-e2e", "mls-server-e2e"},
		{"a.example/b", false, "https://a.example/b/issues and a.example/b.", "https://host.example/owner/name/issues and host.example/owner/name."},
		{"a.example/b", false, "a.example/bc a.example/b.c x.a.example/b y/a.example/b", "a.example/bc a.example/b.c x.a.example/b y/a.example/b"},
		{"a.example/b", false, "go get a.example/b/client@v1", "go get host.example/owner/name/client@v1"},
		{"a.example/b", false, "a.example/b@latest", "host.example/owner/name@latest"},
	} {
		if got := string(replace([]byte(c.text), c.from, to, c.bare)); got != c.want {
			t.Errorf("%q of %q:\n got %q\nwant %q", c.from, c.text, got, c.want)
		}
	}
}

// TestRefusedPaths: a path that nobody could publish changes nothing.
func TestRefusedPaths(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"", "name", "owner/name", "host.example/owner/", "host.example/a b", "https://host.example/name", "host.example/owner/name/v2"} {
		if n, err := rename("../..", path); err == nil || n != 0 {
			t.Errorf("%q: %d files, error %v", path, n, err)
		}
	}
}
