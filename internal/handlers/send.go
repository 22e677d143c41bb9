package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
)

type sender = func(ctx context.Context, p store.SendParams) (store.SendResult, error)

// deliveryOf is how the message is to be sent.
func (h *Handlers) deliveryOf(in *mlsapi.SendMessageInput) (sender, error) {
	switch {
	case in.Delivery == nil || *in.Delivery == mlsapi.SendMessageInputDeliveryPersistent:
		return func(ctx context.Context, p store.SendParams) (store.SendResult, error) {
			return h.Delivery.Send(ctx, delivery.Message{SendParams: p, Info: mls.ParseDeposit(in.GroupInfo), SendKey: mls.ParseSendKey(in.SendKey)})
		}, nil
	case *in.Delivery == mlsapi.SendMessageInputDeliveryEphemeral:
		return h.Delivery.SendEphemeral, mls.CheckEphemeralSize(len(in.Ciphertext))
	}
	return nil, mls.InvalidInput("/delivery", "must be persistent or ephemeral")
}
