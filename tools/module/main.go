// Command module gives the whole repository another module path, so that whoever publishes it can
// be imported: every go.mod, every import and generated file, the settings of the tools, and what
// pages and links say. `make module MODULE=host.example/owner/name` runs it.
//
// It reads the present path from go.mod, so it can be run again. Names that only look like the path
// stay: the command mls-server, files called so, and the labels of signatures, which clients know.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: module DIR PATH\n\ngives the repository in DIR the module path PATH, for example host.example/owner/name")
		os.Exit(2)
	}
	changed, err := rename(os.Args[1], os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, "module:", err)
		os.Exit(1)
	}
	fmt.Printf("%d files say %s now\n", changed, os.Args[2])
}

// rename gives the repository at dir the module path to, and returns how many files it wrote. It
// writes nothing when it fails before the last file is read.
func rename(dir, to string) (int, error) {
	if err := module.CheckPath(to); err != nil {
		return 0, fmt.Errorf("not a module path that can be published: %w", err)
	}
	if _, major, _ := module.SplitPathVersion(to); major != "" {
		return 0, fmt.Errorf("%s: a path with a major version needs its tags, too; leave %s out", to, major)
	}
	from, err := modulePath(dir)
	if err != nil || from == to {
		return 0, err
	}
	files, err := tracked(dir)
	if err != nil {
		return 0, err
	}
	texts := map[string][]byte{}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // deleted, and the deletion is not committed
		}
		if err != nil {
			return 0, fmt.Errorf("read: %w", err)
		}
		if text, err = renamed(name, text, from, to); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		} else if text != nil {
			texts[name] = text
		}
	}
	for name, text := range texts {
		// The file is there, and keeps its mode.
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return 0, fmt.Errorf("write: %w", err)
		}
	}
	return len(texts), nil
}

func modulePath(dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	if err != nil {
		return "", fmt.Errorf("read go.mod: %w", err)
	}
	path := modfile.ModulePath(text)
	if path == "" {
		return "", errors.New("go.mod names no module")
	}
	return path, nil
}

// tracked lists the files that git knows or would add.
func tracked(dir string) ([]string, error) {
	cmd := exec.Command("git", "-C", dir, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git ls-files: %w", err)
	}
	names := strings.Split(strings.Trim(string(out), "\x00"), "\x00")
	slices.Sort(names)
	return slices.Compact(names), nil
}

// renamed is the text of a file under the new path, nil when nothing changes.
func renamed(name string, text []byte, from, to string) ([]byte, error) {
	if bytes.IndexByte(text, 0) >= 0 || !bytes.Contains(text, []byte(from)) {
		return nil, nil
	}
	out := replace(text, from, to, namesModule(name))
	if bytes.Equal(out, text) {
		return nil, nil
	}
	return sorted(name, out)
}

// sorted puts imports and requirements into the order of their paths.
func sorted(name string, text []byte) ([]byte, error) {
	switch {
	case strings.HasSuffix(name, ".go"):
		out, err := format.Source(text)
		if err != nil && strings.Contains(name, "/testdata/") {
			return text, nil // meant to be no Go
		}
		return out, err
	case filepath.Base(name) == "go.mod":
		file, err := modfile.Parse(name, text, nil)
		if err != nil {
			return nil, err
		}
		file.SortBlocks()
		return file.Format()
	}
	return text, nil
}

// namesModule tells whether the bare path in a file is the module's, and not the command's name.
func namesModule(name string) bool {
	return filepath.Base(name) == "go.mod" || name == ".golangci.yml"
}

// replace puts to in the place of from where it is the module's path: at the beginning of a path,
// or of a link to it. Without bare, a path alone says nothing, unless it has a host in it.
func replace(text []byte, from, to string, bare bool) []byte {
	bare = bare || strings.Contains(from, "/")
	out := make([]byte, 0, len(text)+len(text)/16)
	for {
		i := bytes.Index(text, []byte(from))
		if i < 0 {
			return append(out, text...)
		}
		before, after := append(out, text[:i]...), text[i+len(from):]
		if begins(before) && (bytes.HasPrefix(after, []byte("/")) || bare && !continues(after)) {
			out = append(before, to...)
		} else {
			out = append(before, from...)
		}
		text = after
	}
}

// begins tells whether what comes after text is the beginning of a path.
func begins(text []byte) bool {
	return len(text) == 0 || bytes.HasSuffix(text, []byte("://")) || !inPath(text[len(text)-1]) && text[len(text)-1] != '/'
}

// continues tells whether text begins within a word. A full stop ends one at the end of a sentence.
func continues(text []byte) bool {
	text = bytes.TrimLeft(text, ".")
	return len(text) > 0 && inPath(text[0])
}

func inPath(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_~.", c) >= 0
}
