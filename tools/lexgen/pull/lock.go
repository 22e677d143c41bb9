package pull

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"mls-server/lexrt"
)

// collection is that of records with lexicons.
const collection = "com.atproto.lexicon.schema"

const lockVersion = 1

// Lock is the content of lexicons.json, as @atproto/lex has it, too.
type Lock struct {
	Version int `json:"version"`
	// Lexicons are the NSIDs that were asked for, in order.
	Lexicons []string `json:"lexicons"`
	// Resolutions are those, and what they refer to.
	Resolutions map[string]Resolution `json:"resolutions"`
}

// Resolution is where a lexicon came from, and which one it was.
type Resolution struct {
	URI string `json:"uri"`
	CID string `json:"cid"`
}

func resolutionURI(did lexrt.DID, nsid string) string {
	return "at://" + string(did) + "/" + collection + "/" + nsid
}

// did is the account that a resolution names.
func (r Resolution) did(nsid string) (lexrt.DID, error) {
	rest, _ := strings.CutPrefix(r.URI, "at://")
	did, _, _ := strings.Cut(rest, "/")
	if !lexrt.FormatDID.Valid(did) || r.URI != resolutionURI(lexrt.DID(did), nsid) {
		return "", fmt.Errorf("its uri in the lock file is not at://DID/%s/%s", collection, nsid)
	}
	return lexrt.DID(did), nil
}

// readLock reads a lock file; one that is not there is empty.
func readLock(file string) (*Lock, error) {
	l := &Lock{Version: lockVersion, Resolutions: map[string]Resolution{}}
	data, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l, nil
	case err != nil:
		return nil, err
	}
	if err := json.Unmarshal(data, l); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if l.Version != lockVersion {
		return nil, fmt.Errorf("%s is of version %d; %d is known", file, l.Version, lockVersion)
	}
	return l, nil
}

// Write writes the lock file, when it is to change.
func (l *Lock) Write(file string) error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return err
	}
	data = append(data, '\n')
	if old, err := os.ReadFile(file); err == nil && string(old) == string(data) {
		return nil
	}
	part := file + ".part"
	if err := os.WriteFile(part, data, 0o644); err != nil {
		return err
	}
	return os.Rename(part, file)
}
