package handlers

import (
	"context"
	"time"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

const (
	// reportable is how long after leaving a user can be reported.
	reportable = 30 * 24 * time.Hour
	// reportsPerHour is how often one user may report another.
	reportsPerHour = 5
)

// ReportMember stores a report that only admins can read. The reported user
// never learns of it, admin or not.
func (h *Handlers) ReportMember(ctx context.Context, caller lexrt.Caller, in *mlsapi.ReportMemberInput) (*mlsapi.ReportMemberOutput, error) {
	key, err := mls.ParseConvoKey(in.ConvoID)
	if err != nil {
		return nil, err
	}
	report := store.Report{
		ID: store.NewReportID(), Reporter: caller.DID, Reported: in.ReportedDID, Category: string(in.Category),
		Content: in.EncryptedContent, MessageCount: len(in.MessageIDs), CreatedAt: h.now(),
	}
	err = h.Store.InTx(ctx, func(tx *store.Tx) error {
		convo, err := tx.LockAsMember(ctx, key, caller.DID)
		if err != nil {
			return err
		}
		if caller.DID == in.ReportedDID {
			return mls.ErrCannotReportSelf
		}
		was, err := tx.WasMemberSince(ctx, convo.ID, in.ReportedDID, report.CreatedAt.Add(-reportable))
		switch {
		case err != nil:
			return err
		case !was:
			return mls.ErrTargetNotMember
		}
		n, first, err := tx.CountReports(ctx, caller.DID, in.ReportedDID, report.CreatedAt.Add(-time.Hour))
		switch {
		case err != nil:
			return err
		case n >= reportsPerHour:
			return mls.RateLimited(max(first.Add(time.Hour).Sub(report.CreatedAt), time.Second))
		}
		report.ConvoID = convo.ID
		if err := tx.FileReport(ctx, report); err != nil {
			return err
		}
		return tx.AppendEvents(ctx, convo.ID, report.CreatedAt, store.NewEvent{
			Kind: store.EventReportReceived, Audience: store.ToAdmins, AudienceDID: in.ReportedDID, Request: store.RequestID(report.ID),
		})
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.ReportMemberOutput{ReportID: string(report.ID), SubmittedAt: datetime(report.CreatedAt)}, nil
}
