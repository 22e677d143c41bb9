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
	"mls-server/internal/config"
)

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
	name := "serve"
	if len(args) > 0 {
		name, args = args[0], args[1:]
	}
	if slices.Contains([]string{"help", "-h", "--help"}, name) {
		fmt.Print(usage())
		return 0
	}
	c := find(name)
	if c == nil {
		return misuse("there is no such command")
	}
	if c.raw != nil {
		return c.raw(ctx, args)
	}
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the usage says it
	if c.flags != nil {
		c.flags(flags)
	}
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		fmt.Print(c.help())
		return 0
	case err != nil:
		return misuse(name + ": " + err.Error())
	case flags.NArg() > c.most && c.most == 0:
		return misuse(name + " takes no arguments")
	case flags.NArg() > c.most:
		return misuse(name + " takes fewer arguments")
	}
	err := c.run(ctx, flags.Args())
	if text, is := errors.AsType[misused](err); is {
		return misuse(string(text))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mls-server:", err)
		return 1
	}
	return 0
}

// misused says that a command was given what it does not take.
type misused string

func (m misused) Error() string { return string(m) }

func misuse(text string) int {
	fmt.Fprintf(os.Stderr, "mls-server: %s\n\n%s", text, usage())
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
