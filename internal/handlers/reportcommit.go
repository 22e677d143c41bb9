package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// ReportCommit says that a device cannot follow a commit, or use its Welcome, or what became of a
// removal.
func (h *Handlers) ReportCommit(ctx context.Context, caller lexrt.Caller, in *mlsapi.ReportCommitInput) (*mlsapi.ReportCommitOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	switch in.Reason {
	case "cannot_process":
		reopened, err := h.Delivery.ReportCommit(ctx, delivery.CommitReport{
			Key: key, User: caller.DID, Device: mls.DeviceID(orEmpty(in.DeviceID)), Commit: mls.MessageID(orEmpty(in.MessageID)),
			Epoch: mls.Epoch(in.Epoch), At: h.now(),
		})
		return &mlsapi.ReportCommitOutput{Reopened: reopened}, err
	case "welcome_invalid":
		_, err := h.Delivery.ConfirmWelcome(ctx, delivery.Confirmation{
			Key: key, User: caller.DID, Device: (*mls.DeviceID)(in.DeviceID), Member: true, At: h.now(),
		})
		return &mlsapi.ReportCommitOutput{}, err
	case "removed", "not_removed":
		if in.RequestID == nil {
			return nil, mls.InvalidInput("/requestId", "is required for this reason")
		}
		open, err := h.Delivery.ReportRemoval(ctx, delivery.RemovalReport{
			Key: key, User: caller.DID, Request: store.RequestID(*in.RequestID), Gone: in.Reason == "removed", At: h.now(),
		})
		return &mlsapi.ReportCommitOutput{Reopened: open}, err
	}
	return nil, mls.InvalidInput("/reason", "must be one of the known values")
}
