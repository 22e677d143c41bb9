package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The cache remembers, for a digest of everything that a run of gen reads, the
// digest of everything it wrote. When both are as they were, nothing is done. An
// entry is only a claim that is checked against the files, so it can be deleted
// at any time. The handlers count among what is read: which methods they have decides
// what is written and warned of.

// cacheKey is the digest of the command line, this executable and all inputs, ""
// when they cannot be read.
func (c *genConfig) cacheKey() string {
	h := sha256.New()
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(exe)
	if err != nil {
		return ""
	}
	flags := *c
	flags.parsedPolicy, flags.incomplete, flags.watch, flags.whole, flags.others = nil, false, false, nil, nil
	for _, o := range c.others {
		fmt.Fprintf(h, "%q %q\n", o.Path, o.Prefix)
	}
	fmt.Fprintf(h, "%q %d %d %q\n", exe, info.Size(), info.ModTime().UnixNano(), fmt.Sprintf("%+v", flags))
	err = filepath.WalkDir(c.in, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		return hashFile(h, path)
	})
	if err != nil || c.policy != "" && hashFile(h, c.policy) != nil {
		return ""
	}
	for _, dir := range c.deps {
		if _, err := os.Stat(dir); err != nil || hashTree(h, dir, ".json") != nil {
			return ""
		}
	}
	if c.handlers != "" && hashTree(h, c.handlers, ".go") != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// hashTree adds the files of a name that ends like ext below root, which need not exist.
func hashTree(h hash.Hash, root, ext string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil || d.IsDir() || !strings.HasSuffix(path, ext):
			return err
		}
		return hashFile(h, path)
	})
}

func hashFile(h hash.Hash, path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%q %d\n", path, len(data))
	_, err = h.Write(data)
	return err
}

// outputDigest is the digest of the generated files and of the names of files that do not
// belong beside them.
func (c *genConfig) outputDigest() (string, error) {
	h := sha256.New()
	for _, g := range c.generators() {
		own, strays, err := g.existing()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(h, "%q %q\n", g.dir, strays)
		for _, name := range slices.Sorted(maps.Keys(own)) {
			fmt.Fprintf(h, "%q %d\n", name, len(own[name]))
			h.Write(own[name])
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func cacheFile(key string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "lexgen", key), nil
}

// upToDate returns what the run printed when the outputs are as it left them.
func (c *genConfig) upToDate(key string) (printed string, ok bool) {
	if key == "" {
		return "", false
	}
	name, err := cacheFile(key)
	if err != nil {
		return "", false
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return "", false
	}
	want, printed, ok := strings.Cut(string(data), "\n")
	if !ok {
		return "", false
	}
	got, err := c.outputDigest()
	return printed, err == nil && got == want
}

// remember notes what a successful run left behind. The cache is an optimisation,
// so a run does not fail when it cannot be written. The run may have added handlers,
// so the key is a new one.
func (c *genConfig) remember(printed string) error {
	key := c.cacheKey()
	if key == "" {
		return nil
	}
	name, err := cacheFile(key)
	if err != nil {
		return nil //nolint:nilerr // there is no cache folder here
	}
	digest, err := c.outputDigest()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil //nolint:nilerr // see above
	}
	tmp := fmt.Sprintf("%s.%d", name, os.Getpid())
	if err := os.WriteFile(tmp, []byte(digest+"\n"+printed), 0o600); err != nil {
		return nil //nolint:nilerr // see above
	}
	return os.Rename(tmp, name)
}
