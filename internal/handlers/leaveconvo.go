package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// LeaveConvo lets the caller leave, or removes another user by a commit.
func (h *Handlers) LeaveConvo(ctx context.Context, caller lexrt.Caller, in *mlsapi.LeaveConvoInput) (*mlsapi.LeaveConvoOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	var stored delivery.Stored
	if in.TargetDID != nil && *in.TargetDID != caller.DID {
		stored, err = h.Delivery.RemoveByCommit(ctx, delivery.Removal{
			Key: key, Actor: caller.DID, Target: *in.TargetDID, Commit: bundle(in.Commit, in.GroupInfo, in.SendKey), At: h.now(),
		})
	} else {
		leave := delivery.Departure{Key: key, User: caller.DID, At: h.now()}
		if in.Commit != nil {
			leave.Proposal = &delivery.Bundle{Handshake: mls.ParseProposal(in.Commit)}
		}
		stored, err = h.Delivery.Leave(ctx, leave)
	}
	if err != nil {
		return nil, err
	}
	return &mlsapi.LeaveConvoOutput{
		Success: true, NewEpoch: int64(stored.Epoch), MessageID: optional(stored.CommitID), Seq: optionalSeq(stored.CommitSeq),
	}, nil
}
