package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/internal/clock"
	"mls-server/internal/mls"
)

// Exit codes.
const (
	exitValid   = 0
	exitInvalid = 1
	exitUsage   = 2
)

// maxInput bounds what is read: the largest ciphertext in base64, and line breaks.
const maxInput = 16 << 20

const usage = `usage: mls-server inspect [--at TIME] [--did DID] [--json] [FILE]
       mls-server inspect --group DIR [--json]

Shows what a delivery service sees in an MLS object (RFC 9420): an MLSMessage of any
kind, a bare KeyPackage or Welcome, or a padded ciphertext. FILE or standard input
holds it as it is, or as base64 (standard or URL alphabet, padded or not).

  --at TIME   judge lifetimes at this time (RFC 3339) instead of now
  --did DID   the object's credential must be of this DID, or of this DID and a device
  --json      print JSON; the default unless the output is a terminal
  --group DIR replay a group: the files of DIR in the order of their names, the first a
              GroupInfo with its tree, then proposals, commits, Welcomes and GroupInfos.
              Prints the group's state after each file, or the first fault.

Exit code 0: valid as far as can be seen. 1: malformed or invalid, with the error's
name. 2: wrong usage, or nothing to read.
`

// options are the command's arguments.
type options struct {
	at   time.Time
	did  mls.DID
	json bool
	file string
	// group is a folder to replay instead of a file.
	group string
}

// Run runs the command with the arguments behind its name. isTerminal says that
// stdout is read by a person, clk is the time unless --at is given. The result is the exit code.
func Run(args []string, stdin io.Reader, stdout, stderr io.Writer, isTerminal bool, clk clock.Clock) int {
	opts, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		_, _ = io.WriteString(stdout, usage)
		return exitValid
	}
	if err != nil {
		fmt.Fprintf(stderr, "mls-server inspect: %v\n\n%s", err, usage)
		return exitUsage
	}
	if opts.at.IsZero() {
		opts.at = clk.Now()
	}
	if opts.group != "" {
		return runGroup(opts.group, stdout, stderr, opts.json || !isTerminal)
	}
	input, err := read(opts.file, stdin)
	if err != nil {
		fmt.Fprintf(stderr, "mls-server inspect: %v\n", err)
		return exitUsage
	}
	r := examine(input, opts)
	write := writeJSON
	if isTerminal && !opts.json {
		write = writeTable
	}
	if err := write(stdout, r); err != nil {
		fmt.Fprintf(stderr, "mls-server inspect: %v\n", err)
		return exitInvalid
	}
	if r.Error != nil {
		fmt.Fprintf(stderr, "mls-server inspect: %s\n", r.Error)
		return exitInvalid
	}
	return exitValid
}

// parse accepts flags before and behind the file, as most people write them.
func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("inspect", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.BoolVar(&o.json, "json", false, "")
	flags.StringVar(&o.group, "group", "", "")
	flags.Func("at", "", func(s string) (err error) {
		if o.at, err = time.Parse(time.RFC3339, s); err != nil {
			return errors.New("not an RFC 3339 time")
		}
		return nil
	})
	flags.Func("did", "", func(s string) (err error) {
		o.did, err = syntax.ParseDID(s)
		return err
	})
	for given := false; ; given = true {
		if err := flags.Parse(args); err != nil {
			return o, err
		}
		if flags.NArg() == 0 {
			return o, nil
		}
		if given {
			return o, errors.New("more than one file")
		}
		o.file, args = flags.Arg(0), flags.Args()[1:]
	}
}

// read reads the file, or standard input for "" and "-".
func read(file string, stdin io.Reader) ([]byte, error) {
	if file != "" && file != "-" {
		f, err := os.Open(file) //nolint:gosec // the file that the user named is the one to read
		if err != nil {
			return nil, err
		}
		defer f.Close()
		stdin = f
	}
	b, err := io.ReadAll(io.LimitReader(stdin, maxInput+1))
	if err != nil {
		return nil, fmt.Errorf("reading the object: %w", err)
	}
	if len(b) > maxInput {
		return nil, fmt.Errorf("the object is larger than %d bytes", maxInput)
	}
	return b, nil
}

// decode tells raw bytes from base64. Every MLS object starts with a zero byte
// (version or suite), which no text does.
func decode(b []byte) (raw []byte, encoding string, err error) {
	if len(b) > 0 && b[0] == 0 {
		return b, "raw", nil
	}
	text := bytes.Join(bytes.Fields(b), nil)
	raw, err = mls.DecodeText(string(text))
	if err != nil {
		return nil, "unknown", mls.CodeBadEncoding
	}
	return raw, "base64", nil
}

func writeJSON(w io.Writer, r *report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(r); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}
