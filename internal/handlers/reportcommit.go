package handlers

import (
	"context"

	"mls-server/internal/delivery"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/lexrt"
)

// ReportCommit says that a device cannot follow a commit, or use its Welcome.
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
		_, err := h.Delivery.ConfirmWelcome(ctx, delivery.Confirmation{Key: key, User: caller.DID, Device: (*mls.DeviceID)(in.DeviceID), At: h.now()})
		return &mlsapi.ReportCommitOutput{}, err
	}
	return nil, mls.InvalidInput("/reason", "must be cannot_process or welcome_invalid")
}
