// Package notebook keeps notes in memory, and the last of what happened to them.
package notebook

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/bluesky-social/indigo/atproto/syntax"

	"mls-server/lexrt"
	"mls-server/lexrt/lexcbor"
	"mls-server/tools/lexgen/examples/notes/api"
)

const (
	// MaxNotes is how many notes a notebook takes.
	MaxNotes = 10_000
	// MaxEvents is how many events can be read again.
	MaxEvents = 1_000
)

// What a notebook refuses.
var (
	ErrNotFound = errors.New("the notebook has no note of this key")
	ErrFull     = fmt.Errorf("the notebook has %d notes and takes no more", MaxNotes)
	ErrFuture   = errors.New("nothing of this number has happened yet")
)

// Event is something that happened to a note: a *api.SubscribeNotesPut or
// *api.SubscribeNotesDeleted.
type Event = api.SubscribeNotesMessage

// Notebook has the notes. It is safe for use by many goroutines. What it returns is shared and must
// not be changed.
type Notebook struct {
	mu    sync.Mutex
	clock syntax.TIDClock
	notes map[lexrt.TID]*api.DefsNoteView
	// events are the last ones, in order; the newest has the number last.
	events []Event
	last   int64
	// changed is closed, and replaced, at each event.
	changed chan struct{}
}

// New returns a notebook without notes.
func New() *Notebook {
	return &Notebook{clock: *syntax.NewTIDClock(0), notes: map[lexrt.TID]*api.DefsNoteView{}, changed: make(chan struct{})}
}

// Get returns the note of a key. Error: ErrNotFound.
func (n *Notebook) Get(key lexrt.TID) (*api.DefsNoteView, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if view, ok := n.notes[key]; ok {
		return view, nil
	}
	return nil, ErrNotFound
}

// List returns up to limit notes whose keys are below before, or the newest when that is "", the
// newest first, and whether there are more.
func (n *Notebook) List(before lexrt.TID, limit int) (page []api.DefsNoteView, more bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	// Keys tell the time at which they were made, and sort by it.
	for _, key := range slices.Backward(slices.Sorted(maps.Keys(n.notes))) {
		switch {
		case before != "" && key >= before:
		case len(page) == limit:
			return page, true
		default:
			page = append(page, *n.notes[key])
		}
	}
	return page, false
}

// Add puts a new note in. Errors: ErrFull.
func (n *Notebook) Add(note api.Note) (*api.DefsNoteView, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.notes) >= MaxNotes {
		return nil, ErrFull
	}
	return n.put(n.clock.Next(), note)
}

// Replace puts a note in the place of the one that has the key. Errors: ErrNotFound.
func (n *Notebook) Replace(key lexrt.TID, note api.Note) (*api.DefsNoteView, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.notes[key]; !ok {
		return nil, ErrNotFound
	}
	return n.put(key, note)
}

func (n *Notebook) put(key lexrt.TID, note api.Note) (*api.DefsNoteView, error) {
	block, err := lexcbor.Marshal(&note)
	if err != nil {
		return nil, fmt.Errorf("encode the note: %w", err)
	}
	view := &api.DefsNoteView{Key: key, CID: lexrt.CIDString(lexcbor.CID(block)), Note: note}
	n.notes[key] = view
	n.happened(func(seq int64) Event { return &api.SubscribeNotesPut{Seq: seq, View: *view} })
	return view, nil
}

// Delete takes a note out. Error: ErrNotFound.
func (n *Notebook) Delete(key lexrt.TID) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if _, ok := n.notes[key]; !ok {
		return ErrNotFound
	}
	delete(n.notes, key)
	n.happened(func(seq int64) Event { return &api.SubscribeNotesDeleted{Seq: seq, Key: key} })
	return nil
}

// happened adds an event and forgets the oldest when there are too many.
func (n *Notebook) happened(event func(seq int64) Event) {
	n.last++
	n.events = append(n.events[max(0, len(n.events)-MaxEvents+1):], event(n.last))
	close(n.changed)
	n.changed = make(chan struct{})
}

// Last is the number of the newest event, 0 before the first.
func (n *Notebook) Last() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.last
}

// Since returns the events after the one of the number seq, and a channel that is closed when there
// are more. When some of them are gone, the first that it returns is not that of seq+1. Error:
// ErrFuture.
func (n *Notebook) Since(seq int64) (events []Event, first int64, more <-chan struct{}, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if seq > n.last {
		return nil, 0, nil, ErrFuture
	}
	oldest := n.last - int64(len(n.events)) + 1
	first = max(seq+1, oldest)
	return slices.Clone(n.events[first-oldest:]), first, n.changed, nil
}
