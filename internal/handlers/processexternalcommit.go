package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// ProcessExternalCommit accepts a commit by which a device of a member joins the group by itself.
func (h *Handlers) ProcessExternalCommit(ctx context.Context, caller lexrt.Caller, in *mlsapi.ProcessExternalCommitInput) (*mlsapi.ProcessExternalCommitOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	join := delivery.JoinRequest{Key: key, User: caller.DID, Commit: bundle(&in.ExternalCommit, in.GroupInfo, in.SendKey), At: h.now()}
	join.Commit.Joins = true
	r := request{
		method: mlsapi.MethodProcessExternalCommit, caller: caller.DID, key: in.IdempotencyKey, byContent: true, input: in,
		prepare: func(ctx context.Context) error { return h.Delivery.ExamineJoin(ctx, join) },
	}
	return race(ctx, h, key, r, func(tx *store.Tx) (*mlsapi.ProcessExternalCommitOutput, error) {
		joined, err := h.Delivery.Join(ctx, tx, join)
		return &mlsapi.ProcessExternalCommitOutput{
			Epoch: int64(joined.Epoch), RejoinedAt: datetime(joined.At), MessageID: string(joined.CommitID), Seq: int64(joined.CommitSeq),
		}, err
	})
}
