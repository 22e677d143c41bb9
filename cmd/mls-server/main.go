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
)

const usage = `usage: mls-server <command>

  serve [--migrate] [--hints]   serve until SIGTERM or SIGINT; migrate first, print what to try
  migrate                       apply the migrations to DATABASE_URL
  config                        print the effective configuration, secrets hidden
  inspect [--help] [FILE]       show what a delivery service sees in an MLS object
  healthcheck                   exit 0 when the server on SERVER_PORT is ready
  version                       print the version
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	code := run(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// run returns the exit code: 0 for success, 1 for failures, 2 for wrong usage.
func run(ctx context.Context, args []string) int {
	command := "serve"
	if len(args) > 0 {
		command, args = args[0], args[1:]
	}
	var err error
	switch command {
	case "serve":
		err = serve(ctx, args)
	case "migrate":
		err = withConfig(func(c *config.Config) error { return app.Migrate(ctx, c, os.Stdout) })
	case "config":
		err = withConfig(func(c *config.Config) error { return app.PrintConfig(os.Stdout, c) })
	case "inspect":
		return inspect.Run(args, os.Stdin, os.Stdout, os.Stderr, isTerminal(os.Stdout), clock.System)
	case "healthcheck":
		err = withConfig(func(c *config.Config) error { return app.Healthcheck(ctx, c) })
	case "version":
		err = printVersion(os.Stdout)
	case "help", "-h", "--help":
		_, err = io.WriteString(os.Stdout, usage)
	default:
		fmt.Fprintf(os.Stderr, "mls-server: there is no such command\n\n%s", usage)
		return 2
	}
	if errors.Is(err, flag.ErrHelp) {
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mls-server:", err)
		return 1
	}
	return 0
}

func serve(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	migrate := flags.Bool("migrate", false, "apply migrations before serving")
	hints := flags.Bool("hints", false, "print what to try once requests are answered")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	return withConfig(func(c *config.Config) error {
		if *migrate {
			if err := app.Migrate(ctx, c, os.Stderr); err != nil {
				return err
			}
		}
		server, err := app.Build(ctx, c, os.Stderr)
		if err != nil {
			return err
		}
		return server.Run(ctx, func(public, admin net.Addr) {
			if *hints {
				app.PrintHints(os.Stdout, c, public, admin)
			}
		})
	})
}

func withConfig(do func(*config.Config) error) error {
	c, err := config.Load(os.LookupEnv)
	if err != nil {
		return err
	}
	for _, warning := range slices.Concat(c.Warnings, config.Misspelt(os.Environ())) {
		fmt.Fprintln(os.Stderr, "mls-server: warning:", warning)
	}
	return do(c)
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
