package store

import (
	"bytes"
	"context"
	"errors"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Ephemeral is a message that is given to those who are connected, and stored nowhere. It does not
// say by whom it is.
type Ephemeral struct {
	ConvoID mls.ConvoID
	// FirstGroup is what clients call the conversation.
	FirstGroup mls.GroupID
	// After is the last event of the conversation when the message was judged. Nobody is given the
	// message who left at that event or before (I10).
	After   LogCursor
	Message Message
}

// JudgeSend holds a message that is to be stored nowhere against the conversation, as SendMessage
// does. Errors: those of SendMessage but mls.ErrMessageIDConflict.
func (s *Store) JudgeSend(ctx context.Context, p SendParams) (Ephemeral, error) {
	row, err := s.q.JudgeSend(ctx, db.JudgeSendParams{
		ConvoID: string(p.Key.ConvoID), GroupID: string(p.Key.GroupID), FramedGroup: string(p.GroupID), UserDID: string(p.Sender),
	})
	if isNotFound(err) {
		return Ephemeral{}, mls.ErrConvoNotFound
	}
	if err != nil {
		return Ephemeral{}, fail("judge message", err)
	}
	_, err = unsent(db.SendMessageRow{
		ConvoID: string(row.ConvoID), ConvoEpoch: int64(row.ConvoEpoch), IsMember: row.IsMember, WasMember: row.WasMember, InGroup: row.InGroup, InFormer: row.InFormer,
		ConvoCommit: row.ConvoCommit, Ended: row.Ended,
	}, p)
	if !errors.Is(err, errChanged) { // which is said where there is no fault
		return Ephemeral{}, err
	}
	return Ephemeral{
		ConvoID: row.ConvoID, FirstGroup: mls.GroupID(row.FirstGroupID),
		After: LogCursor{Generation: row.LogGeneration, Xid: row.LogXid, Position: row.LogPosition},
		Message: Message{
			ConvoID: row.ConvoID, ID: p.ID, Kind: KindApplication, Epoch: p.Epoch, Ciphertext: bytes.Clone(p.Ciphertext), ReceivedAt: bucket(p.At),
		},
	}, nil
}
