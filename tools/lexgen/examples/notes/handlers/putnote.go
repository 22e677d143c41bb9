package handlers

import (
	"context"

	"mls-server/lexrt"
	"mls-server/tools/lexgen/examples/notes/api"
)

// PutNote handles com.example.notes.putNote.
//
// Put a note into the notebook, or a new version in the place of an old one.
//
// Errors: NoteNotFound, NoteTooLong, NotebookFull.
func (h *Handlers) PutNote(_ context.Context, _ lexrt.Caller, in *api.PutNoteInput) (*api.PutNoteOutput, error) {
	var view *api.DefsNoteView
	var err error
	if in.Key == nil {
		view, err = h.Notebook.Add(in.Note)
	} else {
		view, err = h.Notebook.Replace(*in.Key, in.Note)
	}
	if err != nil {
		return nil, named(err)
	}
	return view, nil
}
