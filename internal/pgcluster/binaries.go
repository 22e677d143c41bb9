package pgcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// MinVersion is the oldest major version of PostgreSQL that the schema runs on.
const MinVersion = 15

// ErrNoBinaries says that no PostgreSQL of MinVersion or later is installed.
// The text of the error that wraps it names the command that installs one.
var ErrNoBinaries = errors.New("no PostgreSQL binaries found")

// needed are the programs without which a cluster cannot be made and run.
var needed = []string{"initdb", "postgres"}

// searchGlobs are the places where package managers put PostgreSQL.
var searchGlobs = []string{
	"/usr/lib/postgresql/*/bin",                // Debian, Ubuntu
	"/usr/pgsql-*/bin",                         // the project's RPMs
	"/opt/homebrew/opt/postgresql*/bin",        // Homebrew on Apple silicon
	"/usr/local/opt/postgresql*/bin",           // Homebrew on Intel
	"/home/linuxbrew/.linuxbrew/opt/post*/bin", // Homebrew on Linux
	"/usr/libexec/postgresql*",                 // Alpine
	"/Applications/Postgres.app/Contents/Versions/*/bin",
}

// FindBinaries returns the directory of the newest usable PostgreSQL: the one
// that pg_config names when it is new enough, else the newest of the places
// where package managers put it, DownloadDir and PATH. The error wraps
// ErrNoBinaries and says what to install.
func FindBinaries(ctx context.Context) (string, error) {
	if out, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		dir := strings.TrimSpace(string(out))
		if version(ctx, dir) >= MinVersion {
			return dir, nil
		}
	}
	best, bestVersion := "", 0
	for _, dir := range candidates() {
		if v := version(ctx, dir); v > bestVersion {
			best, bestVersion = dir, v
		}
	}
	if bestVersion >= MinVersion {
		return best, nil
	}
	return "", fmt.Errorf("%w (PostgreSQL %d or later is needed): %s", ErrNoBinaries, MinVersion, InstallHint())
}

// InstallHint is the command that installs PostgreSQL on this machine.
func InstallHint() string {
	switch {
	case runtime.GOOS == "darwin":
		return "run: brew install postgresql@17"
	case onPath("apt-get"):
		return "run: sudo apt-get install postgresql"
	case onPath("dnf"):
		return "run: sudo dnf install postgresql-server"
	case onPath("apk"):
		return "run: sudo apk add postgresql16"
	case onPath("pacman"):
		return "run: sudo pacman -S postgresql"
	}
	return "install the PostgreSQL server from https://www.postgresql.org/download/"
}

// DownloadDir is where tools/devdb puts binaries that it downloads when the
// package manager is no help. The account that PostgreSQL runs under has to
// read it, which root's own cache directory does not allow.
func DownloadDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/mls-server/postgres", nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache directory: %w", err)
	}
	return filepath.Join(dir, "mls-server", "postgres"), nil
}

func onPath(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

func candidates() []string {
	var dirs []string
	for _, pattern := range searchGlobs {
		// The patterns are constants: Glob cannot find fault with them.
		matches, err := filepath.Glob(pattern)
		if err == nil {
			dirs = append(dirs, matches...)
		}
	}
	if dir, err := DownloadDir(); err == nil {
		dirs = append(dirs, filepath.Join(dir, "bin"))
	}
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if target, err := filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(target))
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)

// version is the major version of the PostgreSQL in dir, 0 when there is none.
func version(ctx context.Context, dir string) int {
	for _, program := range needed {
		info, err := os.Stat(filepath.Join(dir, program))
		if err != nil || info.IsDir() {
			return 0
		}
	}
	out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output() //nolint:gosec // a program of the directory that was asked for
	if err != nil {
		return 0
	}
	match := versionPattern.FindSubmatch(out)
	if match == nil {
		return 0
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil {
		return 0
	}
	return major
}
