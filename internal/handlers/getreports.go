package handlers

import (
	"context"
	"errors"

	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mls"
	"mls-server/internal/store"
	"mls-server/lexrt"
)

// GetReports lists reports, newest first. Reports about the calling admin are left out.
func (h *Handlers) GetReports(ctx context.Context, caller lexrt.Caller, params *mlsapi.GetReportsParams) (*mlsapi.GetReportsOutput, error) {
	key, err := mls.ParseConvoKey(params.ConvoID)
	if err != nil {
		return nil, err
	}
	convo, err := h.Store.RequireAdmin(ctx, key, caller.DID)
	switch {
	case errors.Is(err, mls.ErrNotMember):
		return nil, mls.ErrNotAdmin // the lexicon has no other name for a former member
	case err != nil:
		return nil, err
	}
	query := store.ReportQuery{Reader: caller.DID, Limit: int(params.Limit)}
	if params.Status != nil {
		query.Status = store.ReportStatus(*params.Status)
	}
	if params.Cursor != nil {
		at, id, err := parseListCursor(reportCursorPrefix, *params.Cursor)
		if err != nil {
			return nil, mls.InvalidInput("/cursor", "must be a cursor from a previous answer")
		}
		query.After = store.ReportCursor{CreatedAt: at, ID: store.ReportID(id)}
	}
	page, err := h.Store.ListReports(ctx, convo.ID, query)
	if err != nil {
		return nil, err
	}
	out := &mlsapi.GetReportsOutput{Reports: make([]mlsapi.GetReportsReportView, len(page.Reports))}
	for i := range page.Reports {
		out.Reports[i] = reportView(&page.Reports[i])
	}
	if page.Next != nil {
		cursor := listCursor(reportCursorPrefix, page.Next.CreatedAt, string(page.Next.ID))
		out.Cursor = &cursor
	}
	return out, nil
}
