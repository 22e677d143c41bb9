package handlers

import (
	"context"

	"mls-server/lexrt"
	"mls-server/tools/lexgen/examples/notes/api"
)

// GetNote handles com.example.notes.getNote.
//
// Get a note.
//
// Errors: NoteNotFound.
func (h *Handlers) GetNote(_ context.Context, _ lexrt.Caller, params *api.GetNoteParams) (*api.GetNoteOutput, error) {
	view, err := h.Notebook.Get(params.Key)
	if err != nil {
		return nil, named(err)
	}
	return view, nil
}
