package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// SendSealed stores a message of somebody who is a member, without being told who (I16). The method
// takes no token, so there is no caller.
func (h *Handlers) SendSealed(ctx context.Context, _ lexrt.Caller, in *mlsapi.SendSealedInput) (*mlsapi.SendSealedOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	id, err := mls.ParseMessageID(in.MsgID)
	if err != nil {
		return nil, err
	}
	if err := mls.CheckSealedSizes(len(in.Ciphertext), in.PaddedSize); err != nil {
		return nil, err
	}
	epoch := mls.Epoch(in.Epoch)
	sent, err := h.Delivery.SendSealed(ctx, delivery.SealedMessage{
		Key: key, Statement: mls.NewSealedStatement(in.ConvoID, epoch, mls.MessageID(in.MsgID), in.Ciphertext), Proof: in.Proof,
		Message: store.SendParams{Key: key, ID: id, Epoch: epoch, Ciphertext: in.Ciphertext, At: h.now()},
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.SendSealedOutput{
		MessageID: in.MsgID, ReceivedAt: datetime(sent.ReceivedAt), Seq: int64(sent.Seq), Epoch: int64(sent.Epoch),
	}, nil
}
