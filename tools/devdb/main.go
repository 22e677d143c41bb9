// Command devdb runs another command beside a private PostgreSQL, so that
// `make run`, `make bench` and the end-to-end tests work on a machine with
// nothing prepared.
//
//	devdb run --data DIR [--fresh] [--set name=value] -- command args…
//	devdb exec --temp [--set name=value] -- command args…
//	devdb install
//
// run keeps the data in DIR, durably, from one run to the next (--fresh
// throws it away first); exec uses a cluster that goes with the command; install
// puts PostgreSQL on the machine if it is missing and prints where it is. The
// command finds the database in DATABASE_URL. When DATABASE_URL is set
// already, that database is used as it is and no server is started.
//
// Signals are passed on to the command, whose exit code becomes devdb's own
// (128 plus the signal's number when a signal ended it, 125 when devdb itself
// fails).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"mls-server/internal/pgcluster"
)

const (
	exitOwnFailure = 125
	exitUsage      = 2
	databaseName   = "mls"
	databaseEnv    = "DATABASE_URL"
)

func main() {
	code, err := run(context.Background(), os.Args[1:], os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "devdb:", err)
	}
	os.Exit(code)
}

const usage = `usage: devdb run --data DIR [--fresh] [--set name=value] -- command [args…]
       devdb exec --temp [--set name=value] -- command [args…]
       devdb install`

var errUsage = errors.New(usage)

// options are one command line.
type options struct {
	dir      string
	fresh    bool
	settings settings
	command  []string
}

// settings are PostgreSQL settings given as name=value.
type settings map[string]string

func (s settings) String() string { return "" }

func (s settings) Set(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found || name == "" {
		return fmt.Errorf("want name=value, got %q", text)
	}
	s[name] = value
	return nil
}

func parse(arguments []string, out io.Writer) (options, error) {
	if len(arguments) == 0 {
		return options{}, errUsage
	}
	o := options{settings: settings{}}
	flags := flag.NewFlagSet("devdb "+arguments[0], flag.ContinueOnError)
	flags.SetOutput(out)
	flags.Usage = func() { fmt.Fprintln(out, usage) }
	flags.Var(o.settings, "set", "a PostgreSQL setting, name=value; may be repeated")
	temp := false
	switch arguments[0] {
	case "run":
		flags.StringVar(&o.dir, "data", "", "directory that keeps the data")
		flags.BoolVar(&o.fresh, "fresh", false, "throw the data of earlier runs away")
	case "exec":
		flags.BoolVar(&temp, "temp", false, "use a temporary cluster")
	default:
		return options{}, errUsage
	}
	if err := flags.Parse(arguments[1:]); err != nil {
		return options{}, err
	}
	o.command = flags.Args()
	if len(o.command) == 0 || (o.dir == "") != temp {
		return options{}, errUsage
	}
	return o, nil
}

func run(ctx context.Context, arguments []string, out io.Writer) (int, error) {
	if len(arguments) == 1 && arguments[0] == "install" {
		dir, err := binaries(ctx, out)
		if err != nil {
			return exitOwnFailure, err
		}
		fmt.Fprintln(out, dir)
		return 0, nil
	}
	o, err := parse(arguments, out)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return exitUsage, err
	}
	if os.Getenv(databaseEnv) != "" {
		return supervise(o.command, os.Environ(), nil)
	}
	if o.fresh {
		if err := removeData(o.dir); err != nil {
			return exitOwnFailure, err
		}
	}
	binDir, err := binaries(ctx, out)
	if err != nil {
		return exitOwnFailure, err
	}
	cluster, err := pgcluster.Start(ctx, pgcluster.Config{Dir: o.dir, BinDir: binDir, Database: databaseName, Settings: o.settings})
	if err != nil {
		return exitOwnFailure, err
	}
	environment := append(os.Environ(), databaseEnv+"="+cluster.URL(databaseName))
	code, err := supervise(o.command, environment, cluster.Exited())
	if stopErr := cluster.Stop(); stopErr != nil {
		return exitOwnFailure, errors.Join(err, stopErr)
	}
	return code, err
}

var errNotOurs = errors.New("it holds files but no cluster of ours, so it is left alone")

// removeData removes what an earlier run kept, and refuses a directory that
// does not look like one of ours.
func removeData(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("--fresh: %w", err)
	}
	ours := len(entries) == 0
	for _, mark := range []string{"data/PG_VERSION", "new", "password"} {
		if _, err := os.Stat(filepath.Join(dir, mark)); err == nil {
			ours = true
		}
	}
	if !ours {
		return fmt.Errorf("--fresh %s: %w", dir, errNotOurs)
	}
	if running(dir) {
		return fmt.Errorf("--fresh %s: a server is running on it; stop it first", dir)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("--fresh: %w", err)
	}
	return nil
}

// running says whether the process that the lock file names is alive.
func running(dir string) bool {
	content, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if err != nil {
		return false
	}
	var pid int
	if _, err := fmt.Sscan(string(content), &pid); err != nil || pid <= 0 {
		return false
	}
	err = syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

var errDatabaseEnded = errors.New("PostgreSQL ended by itself; its log is postgres.log in the data directory")

// supervise runs the command to its end and passes signals on to it. It ends
// the command when the database ends first.
func supervise(command, environment []string, databaseEnded <-chan struct{}) (int, error) {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = environment
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return exitOwnFailure, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var ownErr error
	for {
		select {
		case err := <-ended:
			return exitCode(cmd, err, ownErr)
		case s := <-signals:
			// A terminal sends these two to the whole group, the command
			// included; a second one could make it give up its orderly end.
			if (s == syscall.SIGINT || s == syscall.SIGQUIT) && inForeground() {
				continue
			}
			passOn(cmd.Process, s)
		case <-databaseEnded:
			databaseEnded = nil
			ownErr = errDatabaseEnded
			passOn(cmd.Process, syscall.SIGTERM)
		}
	}
}

func passOn(process *os.Process, s os.Signal) {
	// The one error there can be is that the command has just ended, which
	// the caller is about to learn anyway.
	_ = process.Signal(s)
}

func exitCode(cmd *exec.Cmd, waitErr, ownErr error) (int, error) {
	if ownErr != nil {
		return exitOwnFailure, ownErr
	}
	var exit *exec.ExitError
	if waitErr != nil && !errors.As(waitErr, &exit) {
		return exitOwnFailure, waitErr
	}
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal()), nil
	}
	return cmd.ProcessState.ExitCode(), nil
}
