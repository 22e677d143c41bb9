package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// ResetConvo begins a new group for a conversation whose group cannot go on.
func (h *Handlers) ResetConvo(ctx context.Context, caller lexrt.Caller, in *mlsapi.ResetConvoInput) (*mlsapi.ResetConvoOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	next, err := delivery.NewConvo(caller.DID, in.GroupID, string(in.CipherSuite), h.now())
	if err != nil {
		return nil, err
	}
	names := make([]delivery.PackageName, len(in.KeyPackageHashes))
	for i, e := range in.KeyPackageHashes {
		names[i] = delivery.PackageName{User: e.DID, Name: e.Hash}
	}
	addition, err := delivery.ParseAddition(nil, in.WelcomeMessages, names, nil, next.At)
	if err != nil {
		return nil, err
	}
	reset := delivery.Reset{
		Key: key, User: caller.DID, Generation: mls.Generation(in.ExpectedGeneration), Epoch: mls.Epoch(in.ExpectedEpoch), Next: next,
		Group: delivery.NewGroup{Info: mls.ParseDeposit(&in.GroupInfo), Epoch: (*mls.Epoch)(in.CurrentEpoch), SendKey: mls.ParseSendKey(in.SendKey)}, Addition: addition,
	}
	r := request{
		method: mlsapi.MethodResetConvo, caller: caller.DID, key: in.IdempotencyKey, input: in,
		prepare: func(ctx context.Context) error { return h.Delivery.VetReset(ctx, &reset) },
	}
	out, err := once(ctx, h, r, func(tx *store.Tx) (*mlsapi.ResetConvoOutput, error) {
		id, err := h.Delivery.Reset(ctx, tx, reset)
		if err != nil {
			return nil, err
		}
		return writtenView(ctx, tx, id, caller.DID, h.now())
	})
	return out, h.Delivery.TellGroup(ctx, key, caller.DID, err)
}
