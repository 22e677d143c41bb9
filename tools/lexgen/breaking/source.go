package breaking

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"mls-server/tools/lexgen/ir"
	"mls-server/tools/lexgen/lexicon"
)

// readFolder loads the lexicons of a folder and the policy beside them.
func readFolder(dir, policy string, opt lexicon.Options) (Version, lexicon.Diags, error) {
	opt.Exclude = []string{policy}
	set, diags, err := lexicon.Load(os.DirFS(dir), opt)
	if err != nil {
		return Version{}, nil, fmt.Errorf("reading the lexicons: %w", err)
	}
	v := Version{Set: set}
	data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(policy)))
	if errors.Is(err, fs.ErrNotExist) {
		return v, diags, nil
	}
	if err != nil {
		return Version{}, nil, fmt.Errorf("reading the policy: %w", err)
	}
	v.Policy, err = ir.ParseOtherPolicy(filepath.Join(dir, policy), data)
	return v, diags, err
}

// readGit loads what a folder had at a revision. Nothing is checked out: the
// files come out of the object store.
func readGit(dir, rev, policy string, opt lexicon.Options) (Version, lexicon.Diags, error) {
	commit, err := git(dir, nil, "rev-parse", "--verify", "--quiet", "--end-of-options", rev+"^{commit}")
	if err != nil {
		return Version{}, nil, fmt.Errorf("git does not know the revision %q here (a shallow clone has few): %w", rev, err)
	}
	// Run inside of the folder, ls-tree lists it alone, with paths relative to it.
	list, err := git(dir, nil, "ls-tree", "-r", "-z", strings.TrimSpace(string(commit)))
	if err != nil {
		return Version{}, nil, fmt.Errorf("listing the files of %q: %w", rev, err)
	}
	names, ids := entries(list)
	if len(names) == 0 {
		return Version{}, nil, fmt.Errorf("the folder has no .json files at the revision %q", rev)
	}
	batch, err := git(dir, []byte(strings.Join(ids, "\n")+"\n"), "cat-file", "--batch")
	if err != nil {
		return Version{}, nil, fmt.Errorf("reading the files of %q: %w", rev, err)
	}
	v := Version{}
	var sources []lexicon.Source
	for _, name := range names {
		var data []byte
		if data, batch, err = blob(batch); err != nil {
			return Version{}, nil, fmt.Errorf("%s: %w", name, err)
		}
		if name != policy {
			sources = append(sources, lexicon.Source{Path: name, Data: data})
			continue
		}
		if v.Policy, err = ir.ParseOtherPolicy(rev+":"+policy, data); err != nil {
			return Version{}, nil, err
		}
	}
	var diags lexicon.Diags
	v.Set, diags = lexicon.Parse(sources, opt)
	return v, diags, nil
}

func git(dir string, stdin []byte, args ...string) ([]byte, error) {
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...) //nolint:gosec,noctx // a developer's own command line; the tool lives as long as the command
	cmd.Stdin = bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, lexicon.Printable(strings.TrimSpace(stderr.String())))
	}
	return out, nil
}

// entries splits the list of ls-tree and keeps what Load would read.
func entries(list []byte) (names, ids []string) {
	for e := range strings.SplitSeq(string(list), "\x00") {
		meta, name, ok := strings.Cut(e, "\t")
		fields := strings.Fields(meta)
		if !ok || len(fields) != 3 || !strings.HasPrefix(fields[0], "100") || path.Ext(name) != ".json" || hidden(name) {
			continue
		}
		names, ids = append(names, name), append(ids, fields[2])
	}
	return names, ids
}

func hidden(name string) bool {
	for part := range strings.SplitSeq(name, "/") {
		if strings.HasPrefix(part, ".") || part == "node_modules" {
			return true
		}
	}
	return false
}

var errBatch = errors.New("git answered in a way that is not understood")

// blob takes the first object from the output of cat-file --batch.
func blob(batch []byte) (data, rest []byte, err error) {
	head, rest, ok := bytes.Cut(batch, []byte("\n"))
	fields := bytes.Fields(head)
	if !ok || len(fields) != 3 {
		return nil, nil, errBatch
	}
	size, err := strconv.Atoi(string(fields[2]))
	if err != nil || size < 0 || size >= len(rest) {
		return nil, nil, errBatch
	}
	return rest[:size], rest[size+1:], nil
}
