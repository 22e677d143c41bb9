package repo_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// targets are those of the Makefile.
func targets(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, m := range regexp.MustCompile(`(?m)^\.PHONY: (.+)$`).FindAllStringSubmatch(read(t, "Makefile"), -1) {
		names = append(names, strings.Fields(m[1])...)
	}
	return names
}

// TestWorkflows: whatever runs on a forge is pinned by the hash of its commit, is allowed no more
// than it needs, and calls targets that are there.
func TestWorkflows(t *testing.T) {
	t.Parallel()
	known := targets(t)
	files, err := filepath.Glob(filepath.Join(root, ".github/*/*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	actions, err := filepath.Glob(filepath.Join(root, ".github/actions/*/*.yml"))
	if err != nil || len(actions) == 0 {
		t.Fatalf("%v, %v", actions, err)
	}
	files = append(files, actions...)
	pinned := regexp.MustCompile(`^([\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d|\./\.github/actions/\w+$)`)
	target := regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		if strings.Contains(string(text), "\njobs:\n") && !strings.Contains(string(text), "\npermissions:\n  contents: read\n") {
			t.Errorf("%s does not begin with the right to read alone", name)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimLeft(strings.TrimSpace(line), "- ")
			if action, is := strings.CutPrefix(line, "uses: "); is && !pinned.MatchString(action) {
				t.Errorf("%s: %s is not pinned by a hash with its version behind it", name, action)
			}
			if command, is := strings.CutPrefix(line, "run: "); is {
				for _, m := range target.FindAllStringSubmatch(command, -1) {
					if !slices.Contains(known, m[1]) {
						t.Errorf("%s: there is no make %s", name, m[1])
					}
				}
			}
		}
	}
	matrix := regexp.MustCompile(`target: \[(.+)\]`).FindStringSubmatch(read(t, ".github/workflows/nightly.yml"))
	if matrix == nil {
		t.Fatal("nightly.yml has no targets")
	}
	for one := range strings.SplitSeq(matrix[1], ",") {
		if name := strings.Fields(one)[0]; !slices.Contains(known, name) {
			t.Errorf("nightly.yml: there is no make %s", name)
		}
	}
}

// TestDependenciesAreWatched: whoever looks for new versions is told of every folder that has any.
func TestDependenciesAreWatched(t *testing.T) {
	t.Parallel()
	watched := read(t, ".github/dependabot.yml")
	for _, manifest := range slices.Concat(filesBelow(t, ".", "go.mod"), filesBelow(t, ".", "package-lock.json"), filesBelow(t, ".", "Cargo.lock")) {
		dir := "/" + strings.TrimPrefix(path.Dir(manifest), ".")
		if !strings.Contains(watched, `"`+dir+`"`) && !strings.Contains(watched, "directory: "+dir+"\n") {
			t.Errorf("%s is not in .github/dependabot.yml", dir)
		}
	}
}

// TestPagesNameTargets: the targets that pages tell their readers to make are there.
func TestPagesNameTargets(t *testing.T) {
	t.Parallel()
	known := targets(t)
	said := regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z0-9-]*)(?: [A-Z]+=|`|$| {2,}#)")
	for _, page := range pages(t) {
		for _, m := range said.FindAllStringSubmatch(read(t, page), -1) {
			if !slices.Contains(known, m[1]) {
				t.Errorf("%s: there is no make %s", page, m[1])
			}
		}
	}
}

// TestReleaseNotes: a release has the text of its version and no other.
func TestReleaseNotes(t *testing.T) {
	t.Parallel()
	s := newScript(t, "release-notes", map[string]string{
		"CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n- new\n\n## 0.2.0 (2027-01-02)\n\nTwo.\n\n- two\n\n## 0.2\n\n- short\n\n## 0.1.0\n",
	})
	for version, want := range map[string]struct {
		code int
		text string
	}{
		"v0.2.0": {0, "Two.\n\n- two\n"},
		"v0.2":   {0, "- short\n"},
		"v0.1.0": {1, "CHANGELOG.md says nothing under \"## 0.1.0\"\n"},
		"v0.3.0": {1, "CHANGELOG.md says nothing under \"## 0.3.0\"\n"},
	} {
		code, out := s.run(t, version)
		if code != want.code || out != want.text {
			t.Errorf("%s: code %d, want %d:\n%q, want %q", version, code, want.code, out, want.text)
		}
	}
}

// TestReleaseCheck: what stands against a release is said, all of it at once.
func TestReleaseCheck(t *testing.T) {
	t.Parallel()
	const ready = "# Changelog\n\n## Unreleased\n\n## 0.1.0\n\n- one\n"
	for _, c := range []struct {
		name, version, changelog, git, make string
		code                                int
		want                                []string
	}{
		{"ready", "v0.1.0", ready, "", "", 0, []string{"v0.1.0 can be tagged"}},
		{"a version of another form", "0.1", ready, "", "", 2, []string{"a version is vMAJOR.MINOR.PATCH"}},
		{"everything is wrong", "v0.2.0", "# Changelog\n\n## Unreleased\n\n- new\n", "status) echo '?? file';;", "exit 1", 1, []string{
			"changes that are not committed", `says nothing under "## 0.2.0"`, `still has lines under "## Unreleased"`,
			"make check fails", "make breaking fails", "make lint fails", "make reproducible fails",
		}},
		{"tagged already", "v0.1.0", ready, `rev-parse) case $* in *HEAD*) echo two;; *) echo one;; esac;;`, "", 1, []string{"v0.1.0 is another commit already"}},
	} {
		s := newScript(t, "release-check", map[string]string{
			"CHANGELOG.md":      c.changelog,
			".ci/release-notes": read(t, ".ci/release-notes"),
			"stubs/git":         "#!/bin/sh\ncase $1 in " + c.git + " status) ;; *) exit 1;; esac\n",
			"stubs/make":        "#!/bin/sh\n" + c.make + "\n",
		})
		code, out := s.run(t, c.version)
		if code != c.code {
			t.Errorf("%s: exit code %d, want %d:\n%s", c.name, code, c.code, out)
		}
		for _, part := range c.want {
			if !strings.Contains(out, part) {
				t.Errorf("%s: %q is not said:\n%s", c.name, part, out)
			}
		}
	}
}
