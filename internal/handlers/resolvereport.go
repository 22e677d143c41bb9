package handlers

import (
	"context"
	"slices"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// ResolveReport closes a pending report, once.
func (h *Handlers) ResolveReport(ctx context.Context, caller lexrt.Caller, in *mlsapi.ResolveReportInput) (*mlsapi.ResolveReportOutput, error) {
	if !slices.Contains([]string{"removed_member", "dismissed", "no_action"}, string(in.Action)) {
		return nil, mls.InvalidInput("/action", "must be removed_member, dismissed or no_action")
	}
	err := h.Delivery.ResolveReport(ctx, store.Resolution{
		Report: store.ReportID(in.ReportID), Action: string(in.Action), Notes: in.Notes, By: caller.DID, At: h.now(),
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.ResolveReportOutput{OK: true}, nil
}
