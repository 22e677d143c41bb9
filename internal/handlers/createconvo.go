package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// CreateConvo makes a conversation around an MLS group.
func (h *Handlers) CreateConvo(ctx context.Context, caller lexrt.Caller, in *mlsapi.CreateConvoInput) (*mlsapi.CreateConvoOutput, error) {
	convo, err := h.newConvo(caller.DID, in)
	if err != nil {
		return nil, err
	}
	users := mls.UniqueDIDs(append([]mls.DID{caller.DID}, in.InitialMembers...))
	hashes := make([]delivery.Hash, len(in.KeyPackageHashes))
	for i, e := range in.KeyPackageHashes {
		hashes[i] = delivery.Hash{User: e.DID, Hash: e.Hash}
	}
	addition, err := delivery.ParseAddition(in.WelcomeMessage, hashes, users[1:], convo.At)
	if err != nil {
		return nil, err
	}
	convo.Epoch = mls.BaseEpoch((*mls.Epoch)(in.CurrentEpoch), addition.HasWelcome())
	r := request{
		method: mlsapi.MethodCreateConvo, caller: caller.DID, key: in.IdempotencyKey, input: in,
		prepare: func(ctx context.Context) error { return h.Delivery.VetNew(ctx, users) },
	}
	return once(ctx, h, r, func(tx *store.Tx) (*mlsapi.CreateConvoOutput, error) {
		if err := h.Delivery.Create(ctx, tx, convo, addition); err != nil {
			return nil, err
		}
		entry, err := tx.FindConvoEntry(ctx, convo.ID)
		if err != nil {
			return nil, err
		}
		view := convoView(&entry)
		return &view, nil
	})
}

// newConvo checks what the input says of the group itself.
func (h *Handlers) newConvo(creator mls.DID, in *mlsapi.CreateConvoInput) (store.NewConvo, error) {
	group, err := mls.ParseGroupID(in.GroupID)
	if err != nil {
		return store.NewConvo{}, err
	}
	suite, err := mls.ParseCipherSuite(string(in.CipherSuite))
	if err != nil {
		return store.NewConvo{}, mls.ErrInvalidCipherSuite
	}
	now := h.now()
	convo := store.NewConvo{ID: mls.NewConvoID(now), GroupID: group, Creator: creator, CipherSuite: suite, At: now}
	if in.Metadata != nil {
		convo.Name, convo.Description = in.Metadata.Name, in.Metadata.Description
	}
	return convo, nil
}
