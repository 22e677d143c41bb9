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
	send, err := h.deliveryOf(in)
	if err != nil {
		return nil, err
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
	sent, err := send(ctx, store.SendParams{
		Key: key, Sender: caller.DID, ID: id, Epoch: mls.Epoch(in.Epoch), CommitID: mls.MessageID(orEmpty(in.CommitID)),
		Ciphertext: in.Ciphertext, DeclaredSize: in.DeclaredSize, At: h.now(),
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.SendMessageOutput{
		MessageID: in.MsgID, ReceivedAt: datetime(sent.ReceivedAt), Seq: int64(sent.Seq), Epoch: int64(sent.Epoch),
	}, nil
}
