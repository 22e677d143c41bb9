package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// SendMessage stores a message without its sender. Idempotency is by
// (conversation, msgId): a key that named the caller would link it to the message (I7).
func (h *Handlers) SendMessage(ctx context.Context, caller lexrt.Caller, in *mlsapi.SendMessageInput) (*mlsapi.SendMessageOutput, error) {
	if in.IdempotencyKey == nil && h.Config.RequireIdempotency {
		return nil, errIdempotencyKeyMissing
	}
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	id, err := mls.ParseMessageID(in.MsgID)
	if err != nil {
		return nil, err
	}
	if err := mls.CheckSizes(len(in.Ciphertext), in.PaddedSize, in.DeclaredSize); err != nil {
		return nil, err
	}
	send := store.SendParams{
		Key: key, Sender: caller.DID, ID: id, Epoch: mls.Epoch(in.Epoch), Grace: h.Config.EpochGrace,
		Ciphertext: in.Ciphertext, DeclaredSize: in.DeclaredSize, At: h.now(),
	}
	// What is not an MLS message is opaque, and so an application message. An
	// application message goes the short way; the rest is judged under the lock.
	var result store.SendResult
	m, _ := mls.UnwrapPadding(in.Ciphertext)
	if m == nil || isApplication(m, send.Epoch) {
		if m != nil {
			send.GroupID = mls.GroupIDFromBytes(m.Framing().GroupID)
		}
		result, err = h.Sender.SendMessage(ctx, send)
	} else {
		result, err = h.Delivery.SendHandshake(ctx, send)
	}
	if err != nil {
		return nil, err
	}
	return &mlsapi.SendMessageOutput{
		MessageID: in.MsgID, ReceivedAt: datetime(result.ReceivedAt), Seq: int64(result.Seq), Epoch: int64(result.Epoch),
	}, nil
}

// isApplication reports whether m is an encrypted application message framed in the epoch.
func isApplication(m *mls.Message, epoch mls.Epoch) bool {
	return m.Private != nil && m.Private.ContentType == mls.ContentApplication && m.Private.Epoch == epoch
}
