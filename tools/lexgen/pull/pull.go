// Package pull fetches published lexicons by their NSIDs: DNS says whose a namespace is, a
// repository of that account has the lexicon, and a lock file says which version was taken.
//
// What it meets is written by strangers. It connects to public addresses over TLS only, follows no
// redirects, reads no more than a lexicon may have, takes a record only when its content has the
// CID that it is told under, and writes nothing but lexicons at the paths that their NSIDs spell.
package pull

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
)

// What others refer to is theirs to say: one run takes so many lexicons at most, and so many bytes.
const (
	maxLexicons = 1000
	maxBytes    = 32 << 20
)

// Source is where lexicons are published. *Network is one.
type Source interface {
	// Authority is the account that publishes the lexicons of the NSID's namespace.
	Authority(ctx context.Context, nsid string) (lexrt.DID, error)
	// Record is the lexicon's record in the account's repository, as JSON, and the CID that the
	// repository has it under.
	Record(ctx context.Context, did lexrt.DID, nsid string) (record []byte, cid string, err error)
}

// Puller brings a folder of lexicons and its lock file up to date.
type Puller struct {
	Source Source
	// Dir is the folder with the lexicons, Lock the path of the lock file.
	Dir, Lock string
	// Update fetches what is locked already, and takes it as it is now.
	Update bool
	// Tell is called for each lexicon that was written, and must not be nil.
	Tell func(nsid string, r Resolution)

	old, lock *Lock
	root      *os.Root
	// taken are the files that are to be written, by NSID.
	taken map[string][]byte
	bytes int
	// folded has each NSID by its lower case: some file systems do not tell them apart.
	folded map[string]string
}

// Pull fetches the lexicons of the NSIDs, all that the lock file names, and all that these refer to
// and that is not in the folder. Files that the lock file does not know are the project's own: they
// are never written.
func (p *Puller) Pull(ctx context.Context, nsids []string) error {
	var err error
	if p.old, err = readLock(p.Lock); err != nil {
		return err
	}
	asked := slices.Concat(nsids, p.old.Lexicons)
	if len(asked) == 0 {
		return fmt.Errorf("there is nothing to pull: no NSID is given, and %s names none", p.Lock)
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil {
		return err
	}
	if p.root, err = os.OpenRoot(p.Dir); err != nil {
		return err
	}
	defer func() { _ = p.root.Close() }()
	p.lock, p.folded = &Lock{Version: lockVersion, Resolutions: map[string]Resolution{}}, map[string]string{}
	p.taken, p.bytes = map[string][]byte{}, 0
	slices.Sort(asked)
	p.lock.Lexicons = slices.Compact(asked)
	next := slices.Clone(p.lock.Lexicons)
	seen := map[string]bool{}
	for len(next) > 0 {
		nsid := next[0]
		next = next[1:]
		if seen[nsid] {
			continue
		}
		if seen[nsid] = true; len(seen) > maxLexicons {
			return fmt.Errorf("these lexicons need more than %d others", maxLexicons)
		}
		doc, err := p.one(ctx, nsid)
		if err != nil {
			return fmt.Errorf("%s: %w", nsid, err)
		}
		next = append(next, references(doc)...)
	}
	return p.write()
}

// write writes the lock file, and then the lexicons: those that an end between the two leaves out
// are missing afterwards, and fetched by the next run.
func (p *Puller) write() error {
	if err := p.lock.Write(p.Lock); err != nil {
		return err
	}
	for _, nsid := range slices.Sorted(maps.Keys(p.taken)) {
		if err := p.save(nsid, p.taken[nsid]); err != nil {
			return err
		}
		p.Tell(nsid, p.lock.Resolutions[nsid])
	}
	return nil
}

// one returns the lexicon of an NSID, from the folder or from its repository.
func (p *Puller) one(ctx context.Context, nsid string) (doc any, err error) {
	if !lexrt.FormatNSID.Valid(nsid) {
		return nil, errors.New("this is not an NSID")
	}
	if other, ok := p.folded[strings.ToLower(nsid)]; ok {
		return nil, fmt.Errorf("differs from %s in upper and lower case only", other)
	}
	p.folded[strings.ToLower(nsid)] = nsid
	file := Path(nsid)
	locked, known := p.old.Resolutions[nsid]
	text, err := p.root.ReadFile(file)
	there := err == nil
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return nil, err
	case there && !known:
		if slices.Contains(p.lock.Lexicons, nsid) {
			return nil, fmt.Errorf("%s is there already, and not from a repository: remove it, or do without its pull", path.Join(p.Dir, file))
		}
		return decode(text) // the project's own
	case there && !p.Update:
		if err := verify(text, locked.CID); err != nil {
			return nil, fmt.Errorf("%s is not what was locked: %w; --update takes what is published now", path.Join(p.Dir, file), err)
		}
		p.lock.Resolutions[nsid] = locked
		return decode(text)
	}
	return p.fetch(ctx, nsid, locked, known && !p.Update)
}

// fetch takes a lexicon from its repository: when pinned, the one that is locked.
func (p *Puller) fetch(ctx context.Context, nsid string, locked Resolution, pinned bool) (any, error) {
	var did lexrt.DID
	var err error
	if pinned {
		did, err = locked.did(nsid)
	} else {
		did, err = p.Source.Authority(ctx, nsid)
	}
	if err != nil {
		return nil, err
	}
	record, cid, err := p.Source.Record(ctx, did, nsid)
	if err != nil {
		return nil, err
	}
	if pinned && cid != locked.CID {
		return nil, fmt.Errorf("%s has it as %s now, and %s is locked; --update takes what is published now", did, cid, locked.CID)
	}
	if err := verify(record, cid); err != nil {
		return nil, fmt.Errorf("%s lies: %w", did, err)
	}
	doc, err := lexiconOf(record, nsid)
	if err != nil {
		return nil, err
	}
	text, err := p.indent(record)
	if err != nil {
		return nil, err
	}
	p.lock.Resolutions[nsid] = Resolution{URI: resolutionURI(did, nsid), CID: cid}
	p.taken[nsid] = text
	return doc, nil
}

// errTooLong says that a run would write more than maxBytes.
var errTooLong = fmt.Errorf("these lexicons are longer than %d MiB together", maxBytes>>20)

// bounded is a file that is being made, and how long it may get.
type bounded struct {
	bytes.Buffer

	most int
}

// Write implements io.Writer.
func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		return 0, errTooLong
	}
	return b.Buffer.Write(p)
}

// indent is a record as its file has it. How long that is counts, not how long the record is: deep
// in a record, two bytes make a line of hundreds.
func (p *Puller) indent(record []byte) ([]byte, error) {
	out := bounded{most: maxBytes - p.bytes}
	enc := jsontext.NewEncoder(&out, jsontext.WithIndent("  "), jsontext.PreserveRawStrings(true))
	tokens := jsontext.NewDecoder(bytes.NewReader(record))
	for {
		token, err := tokens.ReadToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = enc.WriteToken(token)
		}
		if err != nil {
			return nil, err
		}
	}
	p.bytes += out.Len()
	return out.Bytes(), nil
}

// save writes a lexicon. Nothing in it may lead out of the folder, a link neither.
func (p *Puller) save(nsid string, text []byte) error {
	file := Path(nsid)
	if err := p.root.MkdirAll(path.Dir(file), 0o755); err != nil {
		return err
	}
	part := file + ".part"
	if err := p.root.WriteFile(part, text, 0o644); err != nil {
		return err
	}
	return p.root.Rename(part, file)
}

// Path is where the lexicon of an NSID lies, with slashes. An NSID has letters, digits, hyphens and
// dots, and no two dots in a row.
func Path(nsid string) string { return strings.ReplaceAll(nsid, ".", "/") + ".json" }

// verify reports whether a record, in JSON, has a CID.
func verify(record []byte, cid string) error {
	block, err := lexcbor.FromJSON(record)
	if err != nil {
		return fmt.Errorf("it is not in the data model: %w", err)
	}
	if is := string(lexcbor.CID(block)); is != cid {
		return fmt.Errorf("its content has the CID %s, not %s", is, cid)
	}
	return nil
}

func decode(text []byte) (doc any, err error) {
	err = json.Unmarshal(text, &doc)
	return doc, err
}

// lexiconOf is the lexicon of a record, which has to be the one that was asked for. Its members are
// read by their exact names, as lexgen reads them: encoding/json would take "ID" for "id".
func lexiconOf(record []byte, nsid string) (any, error) {
	doc, err := decode(record)
	if err != nil {
		return nil, fmt.Errorf("the record is no lexicon: %w", err)
	}
	members, ok := doc.(map[string]any)
	if !ok {
		return nil, errors.New("the record is no lexicon: it is no object")
	}
	typ, _ := members["$type"].(string)
	id, _ := members["id"].(string)
	version, _ := members["lexicon"].(float64)
	defs, isObject := members["defs"].(map[string]any)
	switch {
	case typ != collection:
		return nil, fmt.Errorf("the record is of type %.100q, not %s", typ, collection)
	case id != nsid:
		return nil, fmt.Errorf("the record is the lexicon of %.100q", id)
	case version != 1:
		return nil, fmt.Errorf("the record is of version %v of the language; 1 is known", members["lexicon"])
	case members["defs"] != nil && !isObject:
		return nil, errors.New("the record is no lexicon: defs is no object")
	case len(defs) == 0:
		return nil, errors.New("the record defines nothing")
	}
	return doc, nil
}

// references lists the other lexicons that a lexicon needs, or names as tokens or permissions:
// those that other tools install with it.
func references(doc any) []string {
	found := map[string]bool{}
	add := func(refs ...any) {
		for _, r := range refs {
			text, _ := r.(string)
			if nsid, _, _ := strings.Cut(text, "#"); lexrt.FormatNSID.Valid(nsid) {
				found[nsid] = true
			}
		}
	}
	var visit func(v any)
	visit = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, item := range v {
				visit(item)
			}
		case map[string]any:
			switch v["type"] {
			case "ref":
				add(v["ref"])
			case "union":
				refs, _ := v["refs"].([]any)
				add(refs...)
			case "string":
				add(tokens(v)...)
			case "permission":
				add(permitted(v)...)
			}
			for _, member := range v {
				visit(member)
			}
		}
	}
	lexicon, _ := doc.(map[string]any)
	visit(lexicon["defs"])
	return slices.Sorted(maps.Keys(found))
}

// tokens are the known values of a string that name definitions.
func tokens(schema map[string]any) (named []any) {
	values, _ := schema["knownValues"].([]any)
	for _, v := range values {
		if text, _ := v.(string); strings.Count(text, "#") == 1 && !strings.HasSuffix(text, "#") {
			named = append(named, v)
		}
	}
	return named
}

// permitted are the methods or the records that a permission names.
func permitted(schema map[string]any) []any {
	member := map[any]string{"rpc": "lxm", "repo": "collection"}[schema["resource"]]
	list, _ := schema[member].([]any)
	return list
}
