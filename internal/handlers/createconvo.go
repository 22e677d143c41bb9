package handlers

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// CreateConvo makes a conversation around an MLS group.
func (h *Handlers) CreateConvo(ctx context.Context, caller lexrt.Caller, in *mlsapi.CreateConvoInput) (*mlsapi.CreateConvoOutput, error) {
	convo, err := delivery.NewConvo(caller.DID, in.GroupID, string(in.CipherSuite), h.now())
	if err != nil {
		return nil, err
	}
	if in.Metadata != nil {
		convo.Name, convo.Description = in.Metadata.Name, in.Metadata.Description
	}
	users := mls.UniqueDIDs(append([]mls.DID{caller.DID}, in.InitialMembers...))
	names := make([]delivery.PackageName, len(in.KeyPackageHashes))
	for i, e := range in.KeyPackageHashes {
		names[i] = delivery.PackageName{User: e.DID, Name: e.Hash}
	}
	addition, err := delivery.ParseAddition(in.WelcomeMessage, in.WelcomeMessages, names, users[1:], convo.At)
	if err != nil {
		return nil, err
	}
	group := delivery.NewGroup{Info: mls.ParseDeposit(in.GroupInfo), Epoch: (*mls.Epoch)(in.CurrentEpoch), SendKey: mls.ParseSendKey(in.SendKey)}
	r := request{
		method: mlsapi.MethodCreateConvo, caller: caller.DID, key: in.IdempotencyKey, input: in,
		prepare: func(ctx context.Context) error { return h.Delivery.Found(ctx, &convo, group, &addition) },
	}
	return once(ctx, h, r, func(tx *store.Tx) (*mlsapi.CreateConvoOutput, error) {
		if err := h.Delivery.Create(ctx, tx, convo, group, addition); err != nil {
			return nil, err
		}
		return writtenView(ctx, tx, convo.ID, caller.DID, h.now())
	})
}

// writtenView is the view of a conversation that was written a moment ago, in the same transaction.
func writtenView(ctx context.Context, tx *store.Tx, id mls.ConvoID, user mls.DID, at time.Time) (*mlsapi.DefsConvoView, error) {
	entry, err := tx.FindConvoEntry(ctx, id)
	switch {
	case errors.Is(err, mls.ErrConvoNotFound):
		return nil, mls.Impossible(err)
	case err != nil:
		return nil, err
	}
	view := convoView(&entry, user, at)
	return &view, nil
}
