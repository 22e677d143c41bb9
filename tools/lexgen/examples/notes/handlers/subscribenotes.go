package handlers

import (
	"context"

	"mls-server/lexrt"
	"mls-server/tools/lexgen/examples/notes/api"
)

// SubscribeNotes handles com.example.notes.subscribeNotes.
//
// Follow what happens to the notes. Without a cursor the stream begins with what happens next.
//
// Errors: ConsumerTooSlow, FutureCursor.
func (h *Handlers) SubscribeNotes(ctx context.Context, _ lexrt.Caller, params *api.SubscribeNotesParams, out *api.SubscribeNotesStream) error {
	at := h.Notebook.Last()
	if params.Cursor != nil {
		at = *params.Cursor
	}
	for fresh := true; ; fresh = false {
		events, first, more, err := h.Notebook.Since(at)
		switch {
		case err != nil:
			return named(err)
		case first == at+1:
		case fresh:
			if err := out.Send(&api.SubscribeNotesInfo{Name: api.SubscribeNotesInfoNameOutdatedCursor}); err != nil {
				return err
			}
		default:
			return api.ErrConsumerTooSlow.WithMessage("what comes next is gone")
		}
		for _, event := range events {
			if err := out.Send(event); err != nil {
				return err
			}
		}
		at = first + int64(len(events)) - 1
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-more:
		}
	}
}
