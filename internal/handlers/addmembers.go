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
	names := make([]delivery.PackageName, len(in.KeyPackageHashes))
	for i, e := range in.KeyPackageHashes {
		names[i] = delivery.PackageName{User: e.DID, Name: e.Hash}
	}
	addition, err := delivery.ParseAddition(in.WelcomeMessage, in.WelcomeMessages, names, mls.UniqueDIDs(in.DIDList), h.now())
	if err != nil {
		return nil, err
	}
	add := delivery.AddRequest{Key: key, Sender: caller.DID, Commit: bundle(in.Commit, in.GroupInfo, in.SendKey), Addition: addition}
	var vetted delivery.Vetted
	r := request{
		method: mlsapi.MethodAddMembers, caller: caller.DID, key: in.IdempotencyKey, input: in,
		prepare: func(ctx context.Context) (err error) {
			vetted, err = h.Delivery.Vet(ctx, add)
			return err
		},
	}
	return race(ctx, h, key, r, func(tx *store.Tx) (*mlsapi.AddMembersOutput, error) {
		stored, err := h.Delivery.Add(ctx, tx, add, vetted)
		return &mlsapi.AddMembersOutput{
			Success: true, NewEpoch: int64(stored.Epoch), MessageID: optional(stored.CommitID), Seq: optionalSeq(stored.CommitSeq),
		}, err
	})
}
