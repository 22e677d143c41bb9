package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// AddMembers accepts a commit that adds users, or further devices of users.
func (h *Handlers) AddMembers(ctx context.Context, caller lexrt.Caller, in *mlsapi.AddMembersInput) (*mlsapi.AddMembersOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	hashes := make([]delivery.Hash, len(in.KeyPackageHashes))
	for i, e := range in.KeyPackageHashes {
		hashes[i] = delivery.Hash{User: e.DID, Hash: e.Hash}
	}
	addition, err := delivery.ParseAddition(in.WelcomeMessage, hashes, mls.UniqueDIDs(in.DIDList), h.now())
	if err != nil {
		return nil, err
	}
	var vetted delivery.Vetted
	r := request{
		method: mlsapi.MethodAddMembers, caller: caller.DID, key: in.IdempotencyKey, input: in,
		prepare: func(ctx context.Context) (err error) {
			vetted, err = h.Delivery.Vet(ctx, key, caller.DID, addition.Users)
			return err
		},
	}
	return once(ctx, h, r, func(tx *store.Tx) (*mlsapi.AddMembersOutput, error) {
		convo, err := tx.LockAsMember(ctx, key, caller.DID)
		if err != nil {
			return nil, err
		}
		commit, err := delivery.ParseCommit(in.Commit, &convo.Convo)
		if err != nil {
			return nil, err
		}
		if err := h.Delivery.Add(ctx, tx, &convo.Convo, caller.DID, commit, addition, vetted); err != nil {
			return nil, err
		}
		return &mlsapi.AddMembersOutput{Success: true, NewEpoch: int64(convo.Epoch)}, nil
	})
}
