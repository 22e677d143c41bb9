package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// UpdateCursor records how far the caller has read. It never moves back.
func (h *Handlers) UpdateCursor(ctx context.Context, caller lexrt.Caller, in *mlsapi.UpdateCursorInput) (*mlsapi.UpdateCursorOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	text := in.Cursor
	if in.MessageID != nil {
		text = *in.MessageID
	}
	at, err := parsePosition(text)
	if err != nil {
		return nil, err
	}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.RequireMember(ctx, key, caller.DID)
		if err != nil {
			return err
		}
		seq := at.seq
		switch {
		case at.message != "":
			if seq, err = tx.FindMessageSeq(ctx, convo.ID, at.message); err != nil {
				return err
			}
		case at.convo != convo.ID:
			return mls.ErrInvalidCursor
		}
		return tx.SetCursor(ctx, convo, caller.DID, seq)
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.UpdateCursorOutput{Success: true}, nil
}
