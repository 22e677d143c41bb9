// Command mls-server is a delivery service for MLS group chat on the AT Protocol.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"syscall"

	"mls-server/internal/app"
	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/inspect"
	"mls-server/internal/operator"
)

const usage = `usage: mls-server <command>

  serve [--migrate] [--hints]   serve until SIGTERM, SIGINT or SIGHUP; migrate first, print what to try
  migrate                       apply the migrations to DATABASE_URL
  config                        print the effective configuration, secrets hidden
  admin COMMAND ...             suspend, export or erase accounts, close conversations; see admin help
  inspect [--help] [FILE]       show what a delivery service sees in an MLS object
  healthcheck                   exit 0 when the server on SERVER_PORT is ready
  version                       print the version

A second signal ends a server that is stopping at once.
`

func main() {
	signals := []os.Signal{syscall.SIGTERM, syscall.SIGINT}
	if !signal.Ignored(syscall.SIGHUP) { // as under nohup
		signals = append(signals, syscall.SIGHUP)
	}
	ctx, stop := context.WithCancel(context.Background())
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, signals...)
	go func() {
		<-caught
		// From here on a signal does what it does by default, and only then is it said that the
		// server stops: whoever reads that may send another one.
		signal.Reset(signals...)
		stop()
	}()
	code := run(ctx, os.Args[1:])
	os.Exit(code)
}

// run returns the exit code: 0 for success, 1 for failures, 2 for wrong usage.
func run(ctx context.Context, args []string) int {
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	if command == "inspect" {
		return inspect.Run(args, os.Stdin, os.Stdout, os.Stderr, isTerminal(os.Stdout), clock.System)
	}
	if command == "admin" {
		return administer(ctx, args)
	}
	var options serveOptions
	flags := flag.NewFlagSet(command, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the usage says it
	commands := map[string]func() error{
		"serve":       func() error { return serve(ctx, options) },
		"migrate":     withConfig(func(c *config.Config) error { return app.Migrate(ctx, c, os.Stdout) }),
		"config":      withConfig(func(c *config.Config) error { return app.PrintConfig(os.Stdout, c) }),
		"healthcheck": withConfig(func(c *config.Config) error { return app.Healthcheck(ctx, c) }),
		"version":     func() error { return printVersion(os.Stdout) },
		"help":        func() error { return printUsage(os.Stdout) },
	}
	if command == "serve" {
		flags.BoolVar(&options.migrate, "migrate", false, "")
		flags.BoolVar(&options.hints, "hints", false, "")
	}
	do, known := commands[command]
	if command == "-h" || command == "--help" {
		do, known = commands["help"], true
	}
	if !known {
		return misuse("there is no such command")
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		do = commands["help"]
	case err != nil:
		return misuse(command + ": " + err.Error())
	case flags.NArg() > 0:
		return misuse(command + " takes no arguments")
	}
	if err := do(); err != nil {
		fmt.Fprintln(os.Stderr, "mls-server:", err)
		return 1
	}
	return 0
}

// administer runs a command of the operator's on the database.
func administer(ctx context.Context, args []string) int {
	do, err := operator.Parse(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "mls-server: admin: %v\n\n%s", err, operator.Usage)
		return 2
	}
	if do.OnlyHelps() {
		_, err = io.WriteString(os.Stdout, operator.Usage)
	} else {
		err = withConfig(func(c *config.Config) error { return app.Administer(ctx, c, do, os.Stdout) })()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mls-server:", err)
		return 1
	}
	return 0
}

func printUsage(w io.Writer) error {
	_, err := io.WriteString(w, usage)
	return err
}

func misuse(text string) int {
	fmt.Fprintf(os.Stderr, "mls-server: %s\n\n%s", text, usage)
	return 2
}

type serveOptions struct{ migrate, hints bool }

func serve(ctx context.Context, options serveOptions) error {
	return withConfig(func(c *config.Config) error {
		if options.migrate {
			if err := app.Migrate(ctx, c, os.Stderr); err != nil {
				return err
			}
		}
		server, err := app.Build(ctx, c, os.Stderr)
		if err != nil {
			return err
		}
		server.Introduce(app.Release{Version: version, Revision: revision}, os.Stderr)
		return server.Run(ctx, func(public, admin net.Addr) {
			if options.hints {
				app.PrintHints(os.Stdout, c, public, admin)
			}
		})
	})()
}

// withConfig is do with the configuration of the environment.
func withConfig(do func(*config.Config) error) func() error {
	return func() error {
		c, err := config.Load(os.LookupEnv)
		if err != nil {
			return err
		}
		for _, warning := range slices.Concat(c.Warnings, config.Misspelt(os.Environ())) {
			fmt.Fprintln(os.Stderr, "mls-server: warning:", warning)
		}
		return do(c)
	}
}

// The linker sets both (see the Makefile): the release tag and the commit.
var version, revision = "devel", "unknown"

func printVersion(w io.Writer) error {
	_, err := fmt.Fprintf(w, "mls-server %s, revision %s, %s\n", version, revision, runtime.Version())
	return err
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
