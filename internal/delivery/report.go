package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

const (
	// reportable is how long after leaving a user can be reported.
	reportable = 30 * 24 * time.Hour
	// reportsPerHour is how often one user may report another.
	reportsPerHour = 5
)

// Report stores a report that only admins can read, in the conversation that key names, and returns
// it, or the one with the same content that the reporter has filed before. The reported user never
// learns of it, admin or not. Who is invited may report, too. Errors: those of LockOnRoster,
// mls.ErrCannotReportSelf, mls.ErrTargetNotMember, mls.ErrRateLimitExceeded.
func (s *Service) Report(ctx context.Context, key mls.ConvoKey, r store.Report) (store.Report, error) {
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockOnRoster(ctx, key, r.Reporter)
		if err != nil {
			return err
		}
		was, err := tx.WasMemberSince(ctx, standing.ID, r.Reported, r.CreatedAt.Add(-reportable))
		switch {
		case err != nil:
			return err
		case !was:
			return mls.ErrTargetNotMember
		}
		r.ConvoID = standing.ID
		repeat, err := tx.FindReportRepeat(ctx, r)
		switch {
		case err != nil:
			return err
		case repeat != nil:
			r = *repeat
			return nil
		}
		n, first, err := tx.CountReports(ctx, r.Reporter, r.Reported, r.CreatedAt.Add(-time.Hour))
		switch {
		case err != nil:
			return err
		case n >= reportsPerHour:
			return mls.RateLimited(first.Add(time.Hour).Sub(r.CreatedAt))
		}
		if err := tx.FileReport(ctx, r); err != nil {
			return err
		}
		return tx.AppendEvents(ctx, r.ConvoID, r.CreatedAt, store.NewEvent{
			Kind: store.EventReportReceived, Audience: store.ToAdmins, AudienceDID: r.Reported, Request: store.RequestID(r.ID),
		})
	})
	return r, err
}

// ResolveReport closes a pending report, once. Errors: mls.ErrReportNotFound for who may not know
// of it, mls.ErrNotAdmin for who lost the role meanwhile, mls.ErrAlreadyResolved.
func (s *Service) ResolveReport(ctx context.Context, r store.Resolution) error {
	return s.store.InTx(ctx, func(tx *store.Tx) error {
		report, err := tx.FindReport(ctx, r.Report, r.By)
		if err != nil {
			return err
		}
		// The admin was one a moment ago and knows of the report. Whoever loses the role while
		// waiting for the lock is told so.
		_, err = tx.LockAsAdmin(ctx, mls.ConvoKey{ConvoID: report.ConvoID}, r.By)
		switch {
		case errors.Is(err, mls.ErrNotMember):
			return mls.ErrNotAdmin
		case errors.Is(err, mls.ErrConvoNotFound):
			return mls.ErrReportNotFound
		case err != nil:
			return err
		}
		repeated, err := tx.ResolveReport(ctx, r)
		if err != nil || repeated {
			return err
		}
		if err := tx.Audit(ctx, store.AdminAction{
			ConvoID: report.ConvoID, Actor: r.By, Kind: store.ActionResolveReport, Target: report.Reported, Report: report.ID, At: r.At,
		}); err != nil {
			return err
		}
		return tx.AppendEvents(ctx, report.ConvoID, r.At, store.NewEvent{
			Kind: store.EventReportResolved, Audience: store.ToAdmins, AudienceDID: report.Reported, Request: store.RequestID(report.ID),
		})
	})
}
