package handlers

import (
	"context"

	"mls-server/lexrt"
	"mls-server/tools/lexgen/examples/notes/api"
)

// DeleteNote handles com.example.notes.deleteNote.
//
// Take a note out of the notebook.
//
// Errors: NoteNotFound.
func (h *Handlers) DeleteNote(_ context.Context, _ lexrt.Caller, in *api.DeleteNoteInput) (*api.DeleteNoteOutput, error) {
	if err := h.Notebook.Delete(in.Key); err != nil {
		return nil, named(err)
	}
	return &api.DeleteNoteOutput{}, nil
}
