// Package starter writes starting lexicons: small, valid, and content with all
// rules of style. It never opens a file that exists.
package starter

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"mls-server/lexrt"
)

// Kinds lists what a lexicon can be started as.
func Kinds() []string {
	return []string{"query", "procedure", "record", "subscription", "permission-set", "defs"}
}

// KindOf guesses the kind from the name: get… is a query, defs are definitions.
func KindOf(nsid string) string {
	name := nsid[strings.LastIndexByte(nsid, '.')+1:]
	switch {
	case name == "defs":
		return "defs"
	case strings.HasPrefix(name, "get"), strings.HasPrefix(name, "list"), strings.HasPrefix(name, "search"), strings.HasPrefix(name, "check"):
		return "query"
	case strings.HasPrefix(name, "subscribe"):
		return "subscription"
	}
	return "procedure"
}

// Lexicon returns the text of a starting lexicon.
func Lexicon(nsid, kind string) ([]byte, error) {
	if !lexrt.FormatNSID.Valid(nsid) {
		return nil, fmt.Errorf("%q is not an NSID: write a reversed domain name and a name, for example com.example.getThing", nsid)
	}
	defs, ok := bodies()[kind]
	if !ok {
		return nil, fmt.Errorf("%q is not a kind: use one of %s", kind, strings.Join(Kinds(), ", "))
	}
	var out bytes.Buffer
	text := `{"lexicon": 1, "id": "` + nsid + `", "defs": ` + defs + "}"
	if err := json.Indent(&out, []byte(text), "", "  "); err != nil {
		return nil, fmt.Errorf("formatting: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Path is where the lexicon of an NSID belongs, with slashes.
func Path(nsid string) string { return strings.ReplaceAll(nsid, ".", "/") + ".json" }

const (
	emptyOutput = `"output": {"encoding": "application/json", "schema": {"type": "object", "required": ["ok"], "properties": {
		"ok": {"type": "boolean", "description": "Whether something changed."}}}}`
	exampleErrors = `"errors": [{"name": "NotFound", "description": "There is no such thing for the caller."}]`
	view          = `{"type": "object", "description": "One thing.", "required": ["id", "createdAt"], "properties": {
		"id": {"type": "string", "description": "Identifier of the thing.", "maxLength": 64},
		"createdAt": {"type": "string", "format": "datetime", "description": "When it was made."}}}`
)

func bodies() map[string]string {
	return map[string]string{
		"query": `{"main": {"type": "query", "description": "Say what the query answers, and to whom.",
			"parameters": {"type": "params", "properties": {
				"limit": {"type": "integer", "description": "How many entries to return at most.", "minimum": 1, "maximum": 100, "default": 50},
				"cursor": {"type": "string", "description": "Position to continue from, as the answer before gave it.", "maxLength": 512}}},
			"output": {"encoding": "application/json", "schema": {"type": "object", "required": ["things"], "properties": {
				"things": {"type": "array", "description": "One page.", "maxLength": 100, "items": {"type": "ref", "ref": "#thing"}},
				"cursor": {"type": "string", "description": "Given when there are more.", "maxLength": 512}}}},
			` + exampleErrors + `}, "thing": ` + view + `}`,
		"procedure": `{"main": {"type": "procedure", "description": "Say what the procedure changes, and who may call it.",
			"input": {"encoding": "application/json", "schema": {"type": "object", "required": ["id"], "properties": {
				"id": {"type": "string", "description": "Identifier of the thing.", "maxLength": 64}}}},
			` + emptyOutput + `, ` + exampleErrors + `}}`,
		"record": `{"main": {"type": "record", "description": "Say what the record stands for.", "key": "tid",
			"record": {"type": "object", "required": ["text", "createdAt"], "properties": {
				"text": {"type": "string", "description": "What it says.", "maxLength": 3000, "maxGraphemes": 300},
				"createdAt": {"type": "string", "format": "datetime", "description": "When it was made."}}}}}`,
		"subscription": `{"main": {"type": "subscription", "description": "Say what the stream tells.",
			"parameters": {"type": "params", "properties": {
				"cursor": {"type": "integer", "description": "The last seq that was seen; the stream goes on after it.", "minimum": 0}}},
			"message": {"schema": {"type": "union", "refs": ["#event", "#info"]}},
			"errors": [{"name": "FutureCursor", "description": "The cursor is beyond the end of the stream."}]},
			"event": {"type": "object", "description": "Something happened.", "required": ["seq", "time"], "properties": {
				"seq": {"type": "integer", "description": "Position in the stream.", "minimum": 0},
				"time": {"type": "string", "format": "datetime", "description": "When it happened."}}},
			"info": {"type": "object", "description": "Something about the stream itself.", "required": ["name"], "properties": {
				"name": {"type": "string", "description": "What it is about.", "maxLength": 64, "knownValues": ["outdated-cursor"]}}}}`,
		"permission-set": `{"main": {"type": "permission-set", "title": "Name of what is granted",
			"detail": "Say in a sentence what applications can do with it.",
			"permissions": [{"type": "permission", "resource": "repo", "collection": ["com.example.thing"]}]}}`,
		"defs": `{"thing": ` + view + `}`,
	}
}

// Run is the command "lexgen new". It returns 0 when the file was written, 1
// when it exists already or cannot be written, and 2 for a wrong command line.
func Run(args []string, stdout, stderr io.Writer) int {
	fset := flag.NewFlagSet("lexgen new", flag.ContinueOnError)
	fset.SetOutput(stderr)
	in := fset.String("in", "lexicons", "folder with the lexicons")
	kind := fset.String("kind", "", "one of "+strings.Join(Kinds(), ", ")+" (default: guessed from the name)")
	fset.Usage = func() {
		fmt.Fprint(stderr, "usage: lexgen new NSID [--kind KIND] [--in DIR]\n\nWrites a starting lexicon; never overwrites one.\n\n")
		fset.PrintDefaults()
	}
	nsid, err := parse(fset, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case nsid == "":
		fset.Usage()
		return 2
	}
	if *kind == "" && lexrt.FormatNSID.Valid(nsid) {
		*kind = KindOf(nsid)
	}
	text, err := Lexicon(nsid, *kind)
	if err != nil {
		fmt.Fprintln(stderr, "lexgen new:", err)
		return 2
	}
	file := filepath.Join(*in, filepath.FromSlash(Path(nsid)))
	if err := write(file, text); err != nil {
		fmt.Fprintln(stderr, "lexgen new:", err)
		return 1
	}
	fmt.Fprintln(stdout, file)
	return 0
}

// parse accepts the NSID before or after the flags; "" means that it is missing or not alone.
func parse(fset *flag.FlagSet, args []string) (string, error) {
	var names []string
	for {
		if err := fset.Parse(args); err != nil {
			return "", err
		}
		if args = fset.Args(); len(args) == 0 {
			break
		}
		names, args = append(names, args[0]), args[1:]
	}
	if len(names) != 1 {
		return "", nil
	}
	return names[0], nil
}

func write(file string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil { //nolint:gosec // a source tree is for everyone to read
		return fmt.Errorf("making the folder: %w", err)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // as above
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; it was not touched", file)
	}
	if err != nil {
		return fmt.Errorf("creating the file: %w", err)
	}
	if _, err := f.Write(text); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("writing the file: %w", err)
	}
	return nil
}
