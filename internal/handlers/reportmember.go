package handlers

import (
	"context"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// ReportMember stores a report that only admins can read.
func (h *Handlers) ReportMember(ctx context.Context, caller lexrt.Caller, in *mlsapi.ReportMemberInput) (*mlsapi.ReportMemberOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	report := store.Report{
		ID: store.NewReportID(), Reporter: caller.DID, Reported: in.ReportedDID, Category: string(in.Category),
		Content: in.EncryptedContent, MessageCount: len(in.MessageIDs), CreatedAt: h.now(),
	}
	report, err = h.Delivery.Report(ctx, key, report)
	if err != nil {
		return nil, err
	}
	return &mlsapi.ReportMemberOutput{ReportID: string(report.ID), SubmittedAt: datetime(report.CreatedAt)}, nil
}
