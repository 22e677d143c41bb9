package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// ResolveReport closes a pending report, once.
func (h *Handlers) ResolveReport(ctx context.Context, caller lexrt.Caller, in *mlsapi.ResolveReportInput) (*mlsapi.ResolveReportOutput, error) {
	if in.Action == "" {
		return nil, mls.InvalidInput("/action", "must not be empty")
	}
	err := h.Delivery.ResolveReport(ctx, store.Resolution{
		Report: store.ReportID(in.ReportID), Action: resolution(in.Action), Notes: in.Notes, By: caller.DID, At: h.now(),
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.ResolveReportOutput{OK: true}, nil
}

// resolution is what was done about a report, by the one of its names that is stored. What is not
// known is stored as it came: the set is open.
func resolution(action mlsapi.ResolveReportInputAction) string {
	switch action {
	case mlsapi.ResolveReportInputActionRemoveMember:
		return string(mlsapi.ResolveReportInputActionRemovedMember)
	case mlsapi.ResolveReportInputActionDismiss:
		return string(mlsapi.ResolveReportInputActionDismissed)
	default:
		return string(action)
	}
}
