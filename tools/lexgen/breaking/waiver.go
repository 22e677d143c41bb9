package breaking

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Waiver allows one change until a day.
type Waiver struct {
	// Rule, Lexicon and Pointer are those of the finding.
	Rule    string `json:"rule"`
	Lexicon string `json:"lexicon"`
	Pointer string `json:"pointer"`
	// Reason says why the change is right all the same.
	Reason string `json:"reason"`
	// Expires is the last day on which the waiver holds, as YYYY-MM-DD.
	Expires string `json:"expires"`

	until time.Time
	used  bool
}

// longest is how far ahead a waiver may expire.
const longest = 366 * 24 * time.Hour

// readWaivers reads a file {"waivers": […]} strictly.
func readWaivers(file string, today time.Time) ([]*Waiver, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the waivers: %w", err)
	}
	var list struct {
		Waivers []*Waiver `json:"waivers"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&list); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	known := map[string]bool{}
	for _, r := range Rules() {
		known[r.ID] = true
	}
	var problems []error
	for i, w := range list.Waivers {
		if w == nil {
			problems = append(problems, fmt.Errorf("%s: waiver %d is null", file, i+1))
			continue
		}
		var err error
		w.until, err = time.Parse(time.DateOnly, w.Expires)
		switch {
		case !known[w.Rule]:
			problems = append(problems, fmt.Errorf("%s: waiver %d: %q is not a rule", file, i+1, w.Rule))
		case w.Lexicon == "":
			problems = append(problems, fmt.Errorf("%s: waiver %d names no lexicon", file, i+1))
		case len(strings.TrimSpace(w.Reason)) < 10:
			problems = append(problems, fmt.Errorf("%s: waiver %d has no reason of at least 10 characters", file, i+1))
		case err != nil:
			problems = append(problems, fmt.Errorf("%s: waiver %d needs \"expires\" as YYYY-MM-DD", file, i+1))
		case w.until.Sub(today) > longest:
			problems = append(problems, fmt.Errorf("%s: waiver %d expires more than a year from now", file, i+1))
		}
	}
	return list.Waivers, errors.Join(problems...)
}

// matching returns the waiver of a finding, if there is one.
func matching(list []*Waiver, f Finding) *Waiver {
	for _, w := range list {
		if w.Rule == f.Rule && w.Lexicon == f.Lexicon && w.Pointer == f.Pointer {
			w.used = true
			return w
		}
	}
	return nil
}
