//go:build mlsdev

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"mls-server/internal/pgcluster"
)

// What keeps the story from being told. Each says what to do.
var (
	errNoTree      = errors.New("the clients of the demo are in the repository: run it there")
	errNoNode      = errors.New("the clients of the demo run on Node.js 20.10 or later, which is not here (https://nodejs.org, or: sudo apt-get install nodejs npm)")
	errNoPackages  = errors.New("the packages of the clients are not installed: run make demo, which does so")
	errNoPostgres  = errors.New("the server of the demo keeps its data in PostgreSQL, which is not here")
	errInterrupted = errors.New("interrupted")
)

// story is the program that tells it.
var story = filepath.Join("e2e", "demo", "main.mjs")

// Stage is where the story is told.
type Stage struct {
	// Out is where it goes, Err where faults do.
	Out, Err *os.File
	// Terminal says that Out is one: it is told when something takes a while.
	Terminal bool
}

// Tell lets real clients play a short story on this server, started from this program, and clears
// away after them.
func (s *Stage) Tell(ctx context.Context) error {
	root, err := s.check(ctx)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.wait("starting a PostgreSQL")
	cluster, err := pgcluster.Start(ctx, pgcluster.Config{Database: database})
	s.wait("")
	if errors.Is(err, pgcluster.ErrNoBinaries) {
		return fmt.Errorf("%w; %s", errNoPostgres, pgcluster.InstallHint())
	}
	if err != nil {
		return err
	}
	defer func() { _ = cluster.Stop() }()                               // it is thrown away
	cmd := exec.CommandContext(ctx, "node", filepath.Join(root, story)) //nolint:gosec // the repository's own program
	cmd.Env = append(os.Environ(), "DATABASE_URL="+cluster.URL(database), "MLS_SERVER_BIN="+self)
	cmd.Stdout, cmd.Stderr = s.Out, s.Err
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endTime
	err = cmd.Run()
	if ctx.Err() != nil {
		return errInterrupted
	}
	return err
}

const (
	// database is the database of the story.
	database = "mls"
	// endTime is how long the clients have to end when they are told to.
	endTime = 10 * time.Second
)

// check looks for what the story needs and returns the repository's folder.
func (s *Stage) check(ctx context.Context) (string, error) {
	root := findTree()
	if root == "" {
		return "", errNoTree
	}
	version, err := exec.CommandContext(ctx, "node", "--version").Output()
	var major, minor int
	if _, scanErr := fmt.Sscanf(strings.TrimSpace(string(version)), "v%d.%d", &major, &minor); err != nil || scanErr != nil || major < 20 || major == 20 && minor < 10 {
		return "", errNoNode
	}
	for _, part := range []string{"e2e/node_modules/ts-mls", "clients/ts/dist/index.js"} {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(part))); err != nil {
			return "", errNoPackages
		}
	}
	return root, nil
}

// findTree looks for the repository above this program, and above where it is run.
func findTree() string {
	var places []string
	if self, err := os.Executable(); err == nil {
		places = append(places, filepath.Dir(self))
	}
	if here, err := os.Getwd(); err == nil {
		places = append(places, here)
	}
	for _, dir := range places {
		for {
			if _, err := os.Stat(filepath.Join(dir, story)); err == nil {
				return dir
			}
			up := filepath.Dir(dir)
			if up == dir {
				break
			}
			dir = up
		}
	}
	return ""
}

// wait says on a terminal what is waited for; "" ends it.
func (s *Stage) wait(what string) {
	if !s.Terminal {
		return
	}
	line := "\r\x1b[K"
	if what != "" {
		line += "  … " + what
	}
	_, _ = io.WriteString(s.Out, line)
}
