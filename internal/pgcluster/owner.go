package pgcluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// owner is the account that the server runs under. PostgreSQL refuses to run
// as root, so root hands its cluster to an unprivileged account.
type owner struct {
	uid, gid int
	// switched is set when the account is not the one of this process.
	switched bool
}

// errNoAccount is what root gets on a machine without an account to drop to.
var errNoAccount = errors.New("PostgreSQL does not run as root, and there is neither an account postgres nor nobody")

func findOwner() (owner, error) {
	if os.Geteuid() != 0 {
		return owner{uid: os.Geteuid(), gid: os.Getegid()}, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(account.Uid)
		gid, gidErr := strconv.Atoi(account.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return owner{uid: uid, gid: gid, switched: true}, nil
		}
	}
	return owner{}, errNoAccount
}

// attributes puts a child into its own process group, so that Ctrl-C at a
// terminal reaches the parent alone and the server is stopped in order, and
// under the owner's account.
func (o owner) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if o.switched {
		attr.Credential = &syscall.Credential{Uid: uint32(o.uid), Gid: uint32(o.gid)} //nolint:gosec // parsed from the account database, never negative
	}
	return attr
}

// give hands the directory path, and with it everything below, to the owner.
// It does so as root in a directory that the owner may write to, so no name in
// it is followed out of it.
func (o owner) give(path string) error {
	if !o.switched {
		return nil
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return fmt.Errorf("hand %s to the server's account: %w", path, err)
	}
	defer func() { _ = root.Close() }() // nothing was written through it
	err = fs.WalkDir(root.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return root.Lchown(name, o.uid, o.gid)
	})
	if err != nil {
		return fmt.Errorf("hand %s to the server's account: %w", path, err)
	}
	return nil
}

// reaches says whether the owner may walk down to path: a folder below /root,
// or one made by mktemp, is closed to every other account.
func (o owner) reaches(path string) bool {
	if !o.switched {
		return true
	}
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return false
		}
		if !o.mayEnter(info) {
			return false
		}
		if dir == filepath.Dir(dir) {
			return true
		}
	}
}

func (o owner) mayEnter(info fs.FileInfo) bool {
	const others, group, user = 0o001, 0o010, 0o100
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case ok && int(stat.Uid) == o.uid:
		return info.Mode()&user != 0
	case ok && int(stat.Gid) == o.gid:
		return info.Mode()&group != 0
	}
	return info.Mode()&others != 0
}
