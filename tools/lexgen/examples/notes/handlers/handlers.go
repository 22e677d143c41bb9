// Package handlers answers the methods of the service.
package handlers

import (
	"errors"

	"mls-server/tools/lexgen/examples/notes/api"
	"mls-server/tools/lexgen/examples/notes/notebook"
)

// Handlers has a method for each method of the service.
type Handlers struct{ Notebook *notebook.Notebook }

var _ api.Service = (*Handlers)(nil)

// named is an error of the notebook as the lexicons have it.
func named(err error) error {
	switch {
	case errors.Is(err, notebook.ErrNotFound):
		return api.ErrNoteNotFound.WithMessage("there is no note of this key")
	case errors.Is(err, notebook.ErrFull):
		return api.ErrNotebookFull.WithMessage(err.Error())
	case errors.Is(err, notebook.ErrFuture):
		return api.ErrFutureCursor.WithMessage("the cursor is beyond the end of the stream")
	}
	return err
}
