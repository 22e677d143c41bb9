// Command lexgen turns AT Protocol lexicons into a Go server that lacks only its
// handlers. See README.md.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"mls-server/tools/lexgen/breaking"
	"mls-server/tools/lexgen/explain"
	"mls-server/tools/lexgen/lint"
	"mls-server/tools/lexgen/pull"
	"mls-server/tools/lexgen/starter"
)

func main() {
	// A run is short, so its garbage waits, until the process nears the limit: the
	// official corpus stays under 150 MB.
	debug.SetGCPercent(400)
	debug.SetMemoryLimit(softMemoryLimit)
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// softMemoryLimit is where the collector begins to work harder, in bytes. It bounds nothing.
const softMemoryLimit = 125 << 20

// command is one of lexgen's commands.
type command struct {
	name, summary string
	run           func(args []string, out, errs io.Writer) error
}

func commands() []command {
	return []command{
		{"gen", "write the generated code, and handlers that are missing", runGen},
		{"check", "compare the generated code with what gen would write; exit 1 and name the files that differ", runCheck},
		{"lint", "check lexicons against the rules of style", withProject(coded(lint.Run), (*project).lintArgs)},
		{"breaking", "compare two versions of lexicons; exit 1 on changes that break someone", withProject(coded(breaking.Run), (*project).breakingArgs)},
		{"pull", "fetch published lexicons by their NSIDs, with a lock file", withProject(coded(pull.Run), (*project).pullArgs)},
		{"explain", "explain what a diagnostic means, with examples", coded(explain.Run)},
		{"new", "write a starting lexicon", withProject(coded(starter.Run), (*project).newArgs)},
		{"schema", "print the JSON Schema of " + projectFile + ", or with \"lexicon\" that of lexicons, for editors", runSchema},
		{"version", "say which lexgen this is", runVersion},
	}
}

// runVersion prints the module's version and the commit that the program was built from, as far as
// the build knows them.
func runVersion(_ []string, out, _ io.Writer) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("the program was built without its build information")
	}
	version := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && !strings.Contains(version, s.Value[:min(12, len(s.Value))]) {
			version += " " + s.Value
		}
	}
	fmt.Fprintln(out, "lexgen "+version+" "+info.GoVersion)
	return nil
}

// errReported ends a run whose problems have been printed already.
var errReported = errors.New("problems were reported")

// run returns the exit code: 0, 1 for problems in the input, 2 for wrong usage.
func run(args []string, out, errs io.Writer) int {
	if len(args) > 0 {
		for _, c := range commands() {
			if c.name != args[0] {
				continue
			}
			err := c.run(args[1:], out, errs)
			var usage *usageError
			var code exitError
			switch {
			case err == nil, errors.Is(err, flag.ErrHelp):
				return 0
			case errors.As(err, &code):
				return int(code)
			case errors.As(err, &usage):
				fmt.Fprintln(errs, "lexgen "+c.name+": "+err.Error())
				fmt.Fprintln(errs, "lexgen "+c.name+" --help lists its flags")
				return 2
			case !errors.Is(err, errReported):
				fmt.Fprintln(errs, "lexgen "+c.name+": "+err.Error())
			}
			return 1
		}
	}
	w, code := errs, 2
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") && args[0] != "help" {
		fmt.Fprintf(w, "lexgen: there is no command %s; lexgen help lists them\n", strconv.Quote(args[0]))
		return code
	}
	if len(args) > 0 && (args[0] == "help" || args[0] == "--help" || args[0] == "-h") {
		w, code = out, 0
	}
	fmt.Fprintln(w, "lexgen turns AT Protocol lexicons into a Go server that lacks only its handlers.")
	fmt.Fprintln(w, "\nusage: lexgen COMMAND [flags]")
	for _, c := range commands() {
		fmt.Fprintf(w, "  %-9s %s\n", c.name, c.summary)
	}
	fmt.Fprintln(w, "\nlexgen COMMAND --help lists its flags.")
	return code
}

// usageError is a wrong command line.
type usageError struct{ problem string }

func (e *usageError) Error() string { return e.problem }
