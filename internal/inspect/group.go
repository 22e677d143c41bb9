package inspect

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"mls-server/internal/mls"
)

// maxFiles bounds what one replay reads.
const maxFiles = 100_000

// groupStep is what one file of a replay did to the group.
type groupStep struct {
	File   string `json:"file"`
	Format string `json:"format"`
	// Did says what happened, in a few words.
	Did     string    `json:"did"`
	Epoch   mls.Epoch `json:"epoch"`
	Members int       `json:"members"`
	// TreeHash is in hex.
	TreeHash string `json:"treeHash,omitempty"`
	Error    string `json:"error,omitempty"`
}

// replay follows one group through the files of a folder, as a server follows a verified
// conversation. The first GroupInfo opens the group.
type replay struct {
	group   *mls.Group
	pending map[mls.ProposalRef]*mls.PublicMessage
	// adds are the references of the packages that the last commit added.
	adds []mls.KeyPackageRef
}

// runGroup replays a folder and prints the state after each file, or the first fault.
func runGroup(dir string, stdout, stderr io.Writer, asJSON bool) int {
	steps, err := replayDir(dir)
	if err != nil {
		fmt.Fprintf(stderr, "mls-server inspect: %v\n", err)
		return exitUsage
	}
	write := writeSteps
	if asJSON {
		write = writeStepsJSON
	}
	if err := write(stdout, steps); err != nil {
		fmt.Fprintf(stderr, "mls-server inspect: %v\n", err)
		return exitInvalid
	}
	if last := steps[len(steps)-1]; last.Error != "" {
		fmt.Fprintf(stderr, "mls-server inspect: %s: %s\n", last.File, last.Error)
		return exitInvalid
	}
	return exitValid
}

// replayDir reads the files in the order of their names. The error is for a folder that
// cannot be read; a fault in an object ends the steps.
func replayDir(dir string) ([]groupStep, error) {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return nil, err
	}
	var steps []groupStep
	var r replay
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if len(steps) == maxFiles {
			return nil, fmt.Errorf("more than %d files", maxFiles)
		}
		b, err := read(filepath.Join(dir, e.Name()), nil)
		if err != nil {
			return nil, err
		}
		step := r.play(e.Name(), b)
		steps = append(steps, step)
		if step.Error != "" {
			break
		}
	}
	if len(steps) == 0 {
		return nil, errors.New("there is no file in the folder")
	}
	return steps, nil
}

// play takes one object into account.
func (r *replay) play(name string, b []byte) groupStep {
	step := groupStep{File: name}
	m, err := parseObject(b)
	if err == nil {
		step.Format = m.Format.String()
		step.Did, err = r.take(m)
	}
	if err != nil {
		step.Error = err.Error()
	}
	if r.group != nil {
		c := r.group.Context()
		step.Epoch, step.TreeHash = c.Epoch, hex.EncodeToString(c.TreeHash)
		for range r.group.Leaves() {
			step.Members++
		}
	}
	return step
}

func parseObject(b []byte) (*mls.Message, error) {
	raw, _, err := decode(b)
	if err != nil {
		return nil, err
	}
	return new(report).find(raw)
}

var errNoGroup = errors.New("the first object must be a GroupInfo with its ratchet tree")

func (r *replay) take(m *mls.Message) (did string, err error) {
	switch {
	case m.GroupInfo != nil:
		return r.groupInfo(m.GroupInfo)
	case m.KeyPackage != nil:
		return "a key package", nil
	case r.group == nil:
		return "", errNoGroup
	case m.Welcome != nil:
		return r.welcome(m)
	case m.Private != nil && m.Private.ContentType == mls.ContentApplication:
		return "an application message", nil
	case m.Framing().ContentType == mls.ContentProposal:
		return r.proposal(m)
	}
	return r.commit(m)
}

func (r *replay) groupInfo(info *mls.GroupInfo) (string, error) {
	if r.group != nil {
		return "agrees with the group", r.group.Agrees(info)
	}
	g, err := mls.OpenGroup(info)
	if err != nil {
		return "", err
	}
	r.group = g
	return "opens the group", nil
}

func (r *replay) proposal(m *mls.Message) (string, error) {
	if err := r.group.CheckProposal(m); err != nil {
		return "", err
	}
	if r.pending == nil {
		r.pending = make(map[mls.ProposalRef]*mls.PublicMessage)
	}
	r.pending[m.Public.ProposalRef(r.group.Context().Suite)] = m.Public
	return "proposes " + m.Public.Proposal.Type.String(), nil
}

func (r *replay) commit(m *mls.Message) (string, error) {
	t, err := r.group.Apply(m, r.pending)
	if err != nil {
		return "", err
	}
	r.group, r.pending, r.adds = t.Next, nil, nil
	for _, a := range t.Added {
		r.adds = append(r.adds, a.Package.Ref())
	}
	did := fmt.Sprintf("leaf %d commits: %d added, %d removed", t.Committer, len(t.Added), len(t.Removed))
	switch {
	case t.External:
		did = fmt.Sprintf("leaf %d joins by an external commit: %d removed", t.Committer, len(t.Removed))
	case t.ReInit != nil:
		did += ", the group ends (ReInit)"
	}
	return did, nil
}

// welcome compares a Welcome with what the last commit added.
func (r *replay) welcome(m *mls.Message) (string, error) {
	w, err := mls.ReadWelcome(m.Welcome.Raw)
	if err != nil {
		return "", err
	}
	left := make(map[mls.KeyPackageRef]bool, len(r.adds))
	for _, ref := range r.adds {
		left[ref] = true
	}
	for _, ref := range w.Refs {
		if !left[ref] {
			return "", mls.CodeWelcomeRefMismatch
		}
		delete(left, ref)
	}
	r.adds = r.adds[:0]
	for ref := range left { // further Welcomes may hold the rest
		r.adds = append(r.adds, ref)
	}
	return fmt.Sprintf("welcomes %d", len(w.Refs)), nil
}

func writeSteps(w io.Writer, steps []groupStep) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, s := range steps {
		did := s.Did
		if s.Error != "" {
			did = "FAULT " + s.Error
		}
		hash := s.TreeHash
		fmt.Fprintf(table, "%s\tepoch %d\t%d members\ttree %s\t%s\n", s.File, s.Epoch, s.Members, hash[:min(len(hash), 12)], did)
	}
	return table.Flush()
}

func writeStepsJSON(w io.Writer, steps []groupStep) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	for _, s := range steps {
		if err := e.Encode(s); err != nil {
			return fmt.Errorf("writing the report: %w", err)
		}
	}
	return nil
}
