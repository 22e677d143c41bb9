package handlers

import (
	"context"
	"errors"
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
	now := h.now()
	err := h.Store.InTx(ctx, func(tx *store.Tx) error {
		report, err := tx.FindReport(ctx, store.ReportID(in.ReportID), caller.DID)
		if err != nil {
			return err
		}
		// The caller was an admin a moment ago and knows of the report. Whoever loses the role while it waits for the lock is told so.
		_, err = tx.LockAsAdmin(ctx, mls.ConvoKey{ConvoID: report.ConvoID}, caller.DID)
		switch {
		case errors.Is(err, mls.ErrNotMember):
			return mls.ErrNotAdmin
		case err != nil:
			return err
		}
		if err := tx.ResolveReport(ctx, store.Resolution{
			Report: report.ID, Action: string(in.Action), Notes: in.Notes, By: caller.DID, At: now,
		}); err != nil {
			return err
		}
		if err := tx.Audit(ctx, store.AdminAction{
			ConvoID: report.ConvoID, Actor: caller.DID, Kind: store.ActionResolveReport, Target: report.Reported, Report: report.ID, At: now,
		}); err != nil {
			return err
		}
		return tx.AppendEvents(ctx, report.ConvoID, now, store.NewEvent{
			Kind: store.EventReportResolved, Audience: store.ToAdmins, AudienceDID: report.Reported, Request: store.RequestID(report.ID),
		})
	})
	if err != nil {
		return nil, err
	}
	return &mlsapi.ResolveReportOutput{OK: true}, nil
}
