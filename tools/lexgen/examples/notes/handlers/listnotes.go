package handlers

import (
	"context"

	"mls-server/lexrt"
	"mls-server/tools/lexgen/examples/notes/api"
)

// ListNotes handles com.example.notes.listNotes.
//
// List the notes, the newest first.
func (h *Handlers) ListNotes(_ context.Context, _ lexrt.Caller, params *api.ListNotesParams) (*api.ListNotesOutput, error) {
	var before lexrt.TID
	if params.Cursor != nil {
		before = lexrt.TID(*params.Cursor)
	}
	notes, more := h.Notebook.List(before, int(params.Limit))
	out := &api.ListNotesOutput{Notes: notes}
	if more {
		cursor := notes[len(notes)-1].Key.String()
		out.Cursor = &cursor
	}
	return out, nil
}
