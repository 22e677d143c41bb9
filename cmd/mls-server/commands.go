package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"mls-server/internal/app"
	"mls-server/internal/clock"
	"mls-server/internal/config"
	"mls-server/internal/inspect"
	"mls-server/internal/operator"
)

// command is one word after mls-server.
type command struct {
	name, takes, does string
	// examples are whole lines.
	examples []string
	// words are what may follow, for the shell's completion.
	words []string
	// raw runs with its arguments as they are and returns the exit code; nil: see run.
	raw func(ctx context.Context, args []string) int
	// run runs once its flags are read; rest is what follows them, no more words than most.
	run   func(ctx context.Context, rest []string) error
	flags func(*flag.FlagSet)
	most  int
}

// commands are all of them, in the order in which they are listed.
func commands() []*command {
	var options serveOptions
	return append([]*command{
		{
			name: "serve", takes: "[--migrate] [--hints]", does: "serve until SIGTERM, SIGINT or SIGHUP; migrate first, print what to try",
			examples: []string{
				"DATABASE_URL=postgresql://mls@db/mls SERVICE_DID=did:web:mls.example.org mls-server serve",
				"MLS_ENV=development DATABASE_URL=postgresql:///mls mls-server serve --migrate --hints",
			},
			words: []string{"--migrate", "--hints"},
			flags: func(f *flag.FlagSet) {
				f.BoolVar(&options.migrate, "migrate", false, "")
				f.BoolVar(&options.hints, "hints", false, "")
			},
			run: func(ctx context.Context, _ []string) error { return serve(ctx, options) },
		},
		{
			name: "migrate", takes: "[status]", does: "apply the migrations to DATABASE_URL, or list those that are missing",
			examples: []string{"mls-server migrate", "mls-server migrate status"},
			words:    []string{"status"}, most: 1,
			run: migrate,
		},
		{
			name: "config", does: "print the effective configuration, secrets hidden",
			examples: []string{"mls-server config", "mls-server config | grep RATE_LIMIT"},
			run: func(context.Context, []string) error {
				return withConfig(func(c *config.Config) error { return app.PrintConfig(os.Stdout, c) })()
			},
		},
		{
			name: "doctor", does: "check the configuration, the database, Redis and the way in from outside, and say what to do",
			examples: []string{"mls-server doctor", "docker compose run --rm server doctor"},
			run: func(ctx context.Context, _ []string) error {
				return withConfig(func(c *config.Config) error { return app.Examine(ctx, c, os.Stdout, isTerminal(os.Stdout)) })()
			},
		},
		{
			name: "admin", takes: "COMMAND ...", does: "suspend, export or erase accounts, close conversations; see admin help",
			words: []string{"suspend-user", "restore-user", "list-suspended", "export-user", "erase-user", "close-convo", "help"},
			raw:   administer,
		},
		{
			name: "inspect", takes: "[--help] [FILE]", does: "show what a delivery service sees in an MLS object",
			raw: func(_ context.Context, args []string) int {
				return inspect.Run(args, os.Stdin, os.Stdout, os.Stderr, isTerminal(os.Stdout), clock.System)
			},
		},
		{
			name: "healthcheck", does: "exit 0 when the server on SERVER_PORT is ready",
			examples: []string{"mls-server healthcheck && echo ready"},
			run: func(ctx context.Context, _ []string) error {
				return withConfig(func(c *config.Config) error { return app.Healthcheck(ctx, c) })()
			},
		},
		{
			name: "completion", takes: "bash|zsh|fish", does: "print the shell's completion",
			examples: []string{"source <(mls-server completion bash)", "mls-server completion fish > ~/.config/fish/completions/mls-server.fish"},
			words:    []string{"bash", "zsh", "fish"}, most: 1,
			run: func(_ context.Context, rest []string) error { return complete(os.Stdout, rest) },
		},
		{
			name: "version", does: "print the version",
			run: func(context.Context, []string) error { return printVersion(os.Stdout) },
		},
	}, devCommands()...)
}

func find(name string) *command {
	all := commands()
	i := slices.IndexFunc(all, func(c *command) bool { return c.name == name })
	if i < 0 {
		return nil
	}
	return all[i]
}

// usage lists the commands.
func usage() string {
	var b strings.Builder
	b.WriteString("usage: mls-server <command>\n\n")
	for _, c := range commands() {
		fmt.Fprintf(&b, "  %-29s %s\n", strings.TrimSpace(c.name+" "+c.takes), c.does)
	}
	b.WriteString("\nmls-server COMMAND --help shows examples. A second signal ends a server that is stopping at once.\n")
	return b.String()
}

// help is that of one command.
func (c *command) help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "usage: mls-server %s\n\n%s%s.\n", strings.TrimSpace(c.name+" "+c.takes), strings.ToUpper(c.does[:1]), c.does[1:])
	if len(c.examples) > 0 {
		fmt.Fprintf(&b, "\nFor example:\n\n  %s\n", strings.Join(c.examples, "\n  "))
	}
	return b.String()
}

// migrate applies what is missing, or says what that is.
func migrate(ctx context.Context, rest []string) error {
	switch {
	case len(rest) == 0:
		return withConfig(func(c *config.Config) error { return app.Migrate(ctx, c, os.Stdout) })()
	case rest[0] == "status":
		return withConfig(func(c *config.Config) error { return app.MigrationStatus(ctx, c, os.Stdout) })()
	}
	return misused("migrate takes nothing, or status")
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
