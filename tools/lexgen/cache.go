package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The cache remembers, for a digest of everything that a run of gen reads, the
// digest of everything it wrote. When both are as they were, nothing is done. An
// entry is only a claim that is checked against the files, so it can be deleted
// at any time. It is used only without --handlers, because handlers are not
// generated files, and without outputs beside the server.

// cacheKey is the digest of the command line, this executable and all inputs, ""
// when they cannot be read.
func (c *genConfig) cacheKey() string {
	if c.handlers != "" || c.reference.any() {
		return ""
	}
	h := sha256.New()
	exe, err := os.Executable()
	if err != nil {
		return ""
	}
	info, err := os.Stat(exe)
	if err != nil {
		return ""
	}
	fmt.Fprintf(h, "%q %d %d %q\n", exe, info.Size(), info.ModTime().UnixNano(), fmt.Sprintf("%+v", *c))
	err = filepath.WalkDir(c.in, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		return hashFile(h, path)
	})
	if err != nil || c.policy != "" && hashFile(h, c.policy) != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
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

// outputDigest is the digest of the generated files in the folders.
func outputDigest(dirs []string) (string, error) {
	h := sha256.New()
	for _, dir := range dirs {
		have, err := generated(dir)
		if err != nil {
			return "", err
		}
		names := make([]string, 0, len(have))
		for name := range have {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			fmt.Fprintf(h, "%q %d\n", name, len(have[name]))
			h.Write(have[name])
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
	got, err := outputDigest(c.outputDirs())
	return printed, err == nil && got == want
}

// remember notes what a successful run left behind. The cache is an optimisation,
// so a run does not fail when it cannot be written.
func (c *genConfig) remember(key, printed string) error {
	if key == "" {
		return nil
	}
	name, err := cacheFile(key)
	if err != nil {
		return nil //nolint:nilerr // there is no cache folder here
	}
	digest, err := outputDigest(c.outputDirs())
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
