//go:build mlsdev

package main

import (
	"context"
	"os"

	"mls-server/internal/demo"
)

// devCommands are what only development builds can do.
func devCommands() []*command {
	return []*command{{
		name: "demo", does: "let three people chat, with real MLS clients, on a server and a database of their own",
		examples: []string{"make demo", "mls-server demo | less"},
		run: func(ctx context.Context, _ []string) error {
			stage := demo.Stage{Out: os.Stdout, Err: os.Stderr, Terminal: isTerminal(os.Stdout)}
			return stage.Tell(ctx)
		},
	}}
}
