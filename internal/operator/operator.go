// Package operator is mls-server admin: what an operator does to accounts and conversations.
//
// All of it is done in the database alone, so that it needs no server that runs, and every server
// that does honours it within a second (package accounts, and the event log). Each command may be
// repeated, after a crash at any statement included. What changes something, or is handed out, is
// written down. The package must not log: what it says goes to the operator.
package operator

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/clock"
	"mls-server/internal/delivery"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Usage is the help of mls-server admin.
const Usage = `usage: mls-server admin COMMAND [--reason TEXT] [DID|CONVERSATION]

  suspend-user DID   refuse an account from now on: its streams end, its key packages stay here
  restore-user DID   serve it again, whoever had it refused: the operator or the account's host
  list-suspended     list the accounts that are refused, and why
  export-user DID    write what is kept of an account, a JSON object a line
  erase-user DID     erase what is kept of an account, and say what is left and why; it is refused
                     until that has ended. --wait DURATION is the time between the two passes, in
                     which servers finish what they are doing (2m; 0s when none runs).
  close-convo ID     end a conversation for all of its users, and delete what it holds

The commands work on DATABASE_URL alone. Servers that run on it follow within a second. All may be
repeated; what changes something, or is handed out, is written down in operator_actions with the
reason. OPERATIONS.md says more.
`

// Command is a command with its arguments. The zero value is not one; see Parse.
type Command struct {
	verb   string
	user   mls.DID
	key    mls.ConvoKey
	reason string
	wait   time.Duration
}

// Console is what commands work with.
type Console struct {
	Store *store.Store
	// Delivery has nothing but the store.
	Delivery *delivery.Service
	// Out is what the operator reads.
	Out   io.Writer
	Clock clock.Clock
}

// verb is what a command does, and what its argument is.
type verb struct {
	takes string // "DID", "ID" of a conversation, or "" for nothing
	run   func(*Command, context.Context, Console) error
}

func verbs() map[string]verb {
	return map[string]verb{
		"suspend-user":   {"DID", (*Command).suspend},
		"restore-user":   {"DID", (*Command).restore},
		"list-suspended": {"", (*Command).list},
		"export-user":    {"DID", (*Command).export},
		"erase-user":     {"DID", (*Command).erase},
		"close-convo":    {"ID", (*Command).closeConvo},
		"help":           {"", nil},
	}
}

// Parse reads a command and its arguments. An error says what is wrong with them.
func Parse(args []string) (*Command, error) {
	if len(args) == 0 {
		return nil, errors.New("which command? One of " + strings.Join(slices.Sorted(maps.Keys(verbs())), ", "))
	}
	c := &Command{verb: args[0]}
	if c.verb == "-h" || c.verb == "--help" {
		c.verb = "help"
	}
	v, ok := verbs()[c.verb]
	if !ok {
		return nil, errors.New("there is no such command")
	}
	flags := flag.NewFlagSet(c.verb, flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the usage says it
	flags.StringVar(&c.reason, "reason", "", "")
	if c.verb == "erase-user" {
		flags.DurationVar(&c.wait, "wait", erasureWait, "")
	}
	switch err := flags.Parse(args[1:]); {
	case errors.Is(err, flag.ErrHelp):
		return &Command{verb: "help"}, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", c.verb, err)
	case v.takes == "" && flags.NArg() > 0:
		return nil, fmt.Errorf("%s takes no arguments", c.verb)
	case v.takes == "":
		return c, nil
	case flags.NArg() != 1:
		return nil, fmt.Errorf("%s takes one %s, after its flags", c.verb, v.takes)
	}
	return c, c.take(flags.Arg(0))
}

// take reads the argument.
func (c *Command) take(arg string) (err error) {
	if verbs()[c.verb].takes == "ID" {
		if c.key, err = mls.ParseConvoKey(arg); err != nil {
			return fmt.Errorf("%s takes the id of a conversation, as clients know it: the group id that it began with", c.verb)
		}
		return nil
	}
	if c.user, err = syntax.ParseDID(arg); err != nil {
		return fmt.Errorf("%s takes a DID, such as did:plc:ewvi7nxzyoun6zhxrhs64oiz", c.verb)
	}
	return nil
}

// OnlyHelps reports whether there is nothing to do but to write the Usage. Such a command must not
// be run.
func (c *Command) OnlyHelps() bool { return c.verb == "help" }

// Run does what the command says.
func (c *Command) Run(ctx context.Context, at Console) error { return verbs()[c.verb].run(c, ctx, at) }

// action is the audit row of the command.
func (c *Command) action(kind store.OperatorActionKind, at Console) store.OperatorAction {
	return store.OperatorAction{Kind: kind, User: c.user, Reason: c.reason, At: at.Clock.Now()}
}

// sayf tells the operator something on the way. What cannot be written there is lost.
func (at Console) sayf(format string, args ...any) { _, _ = fmt.Fprintf(at.Out, format, args...) }
