package store

import (
	"context"
	"crypto/rand"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// AdminActionKind is what an audit row tells of.
type AdminActionKind string

// The kinds of audited actions. ActionSucceed is the server's own: the longest-
// standing member becomes admin when the last one leaves.
const (
	ActionPromote              AdminActionKind = "promote"
	ActionDemote               AdminActionKind = "demote"
	ActionRemove               AdminActionKind = "remove"
	ActionSucceed              AdminActionKind = "succeed"
	ActionResolveReport        AdminActionKind = "resolve_report"
	ActionResolveBlockConflict AdminActionKind = "resolve_block_conflict"
)

// AdminAction is a row of the audit, which outlives its conversation.
type AdminAction struct {
	ConvoID mls.ConvoID
	Actor   mls.DID
	Kind    AdminActionKind
	// Target, Report and Reason are "" where there is none.
	Target mls.DID
	Report ReportID
	Reason string
	At     time.Time
}

// Audit writes an audit row, in the transaction of what it tells of.
func (tx *Tx) Audit(ctx context.Context, a AdminAction) error {
	return fail("audit", tx.q.InsertAdminAction(ctx, db.InsertAdminActionParams{
		ConvoID: a.ConvoID, ActorDID: a.Actor, Action: string(a.Kind), TargetDID: ptrIf(string(a.Target)),
		ReportID: ptrIf(string(a.Report)), Reason: ptrIf(a.Reason), CreatedAt: bucket(a.At),
	}))
}

// WasDemotedBy says whether a user has taken another's admin role since a time.
func (r *reader) WasDemotedBy(ctx context.Context, convo mls.ConvoID, target, actor mls.DID, since time.Time) (bool, error) {
	was, err := r.q.WasDemotedBy(ctx, db.WasDemotedByParams{ConvoID: convo, Since: since, ActorDID: actor, TargetDID: string(target)})
	return was, fail("look for a demotion", err)
}

// ReportID identifies a report.
type ReportID string

// NewReportID returns a random id.
func NewReportID() ReportID { return ReportID(rand.Text()) }

// ReportStatus is how far a report has come.
type ReportStatus string

// The statuses of reports.
const (
	ReportPending   ReportStatus = "pending"
	ReportResolved  ReportStatus = "resolved"
	ReportDismissed ReportStatus = "dismissed"
)

// Report is a member's report of another.
type Report struct {
	ID                 ReportID
	ConvoID            mls.ConvoID
	Reporter, Reported mls.DID
	Category           string
	// Content is opaque: only admins can read it.
	Content []byte
	// MessageCount is how many messages it named. Their ids are not kept (I7).
	MessageCount int
	Status       ReportStatus
	ResolvedBy   *mls.DID
	ResolvedAt   *time.Time
	CreatedAt    time.Time
}

// FileReport stores a report.
func (tx *Tx) FileReport(ctx context.Context, r Report) error {
	return fail("file report", tx.q.InsertReport(ctx, db.InsertReportParams{
		ID: string(r.ID), ConvoID: r.ConvoID, ReporterDID: r.Reporter, ReportedDID: r.Reported, Category: r.Category,
		EncryptedContent: r.Content, MessageCount: int16(r.MessageCount), CreatedAt: bucket(r.CreatedAt), //nolint:gosec // at most 20 by the lexicon
	}), reportOfOneself)
}

// FindReportRepeat is a report that its reporter has filed before with the same content, nil when
// there is none.
func (r *reader) FindReportRepeat(ctx context.Context, report Report) (*Report, error) {
	row, err := r.q.FindReportRepeat(ctx, db.FindReportRepeatParams{
		ReporterDID: report.Reporter, ReportedDID: report.Reported, ConvoID: report.ConvoID, Category: report.Category, EncryptedContent: report.Content,
	})
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	report.ID, report.CreatedAt = ReportID(row.ID), row.CreatedAt
	return &report, fail("find a repeated report", err)
}

// CountReports counts a user's reports of another since a time, and says when
// the first of them was made.
func (r *reader) CountReports(ctx context.Context, reporter, reported mls.DID, since time.Time) (n int, first time.Time, err error) {
	row, err := r.q.CountRecentReports(ctx, db.CountRecentReportsParams{ReporterDID: reporter, ReportedDID: reported, Since: since})
	return int(row.Reports), row.OldestAt, fail("count reports", err)
}

// ReportCursor is a place in a list of reports. The zero value is its beginning.
type ReportCursor struct {
	CreatedAt time.Time
	ID        ReportID
}

// ReportPage is a page of reports, newest first.
type ReportPage struct {
	Reports []Report
	// Next is where the next page begins, nil on the last one.
	Next *ReportCursor
}

// ReportQuery says which reports to list.
type ReportQuery struct {
	// Reader is who reads: reports about the reader are left out.
	Reader mls.DID
	// Status is the one asked for, "" for every status.
	Status ReportStatus
	After  ReportCursor
	Limit  int
}

// ListReports is a page of a conversation's reports.
func (r *reader) ListReports(ctx context.Context, convo mls.ConvoID, q ReportQuery) (ReportPage, error) {
	if q.After == (ReportCursor{}) {
		q.After.CreatedAt = farFuture
	}
	rows, err := r.q.ListReports(ctx, db.ListReportsParams{
		ConvoID: convo, ReaderDID: string(q.Reader), Status: string(q.Status),
		BeforeAt: q.After.CreatedAt, BeforeID: string(q.After.ID), MaxRows: rowLimit(q.Limit + 1),
	})
	if err != nil {
		return ReportPage{}, fail("list reports", err)
	}
	var page ReportPage
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		page.Next = &ReportCursor{CreatedAt: rows[q.Limit-1].CreatedAt, ID: ReportID(rows[q.Limit-1].ID)}
	}
	page.Reports = make([]Report, len(rows))
	for i, row := range rows {
		page.Reports[i] = Report{
			ID: ReportID(row.ID), ConvoID: convo, Reporter: row.ReporterDID, Reported: row.ReportedDID, Category: row.Category,
			Content: row.EncryptedContent, Status: ReportStatus(row.Status), ResolvedBy: (*mls.DID)(row.ResolvedBy),
			ResolvedAt: row.ResolvedAt, CreatedAt: row.CreatedAt,
		}
	}
	return page, nil
}

// FindReport is a report for an admin of its conversation. The error is
// mls.ErrReportNotFound for everybody else, the reported admin included,
// whether it exists or not.
func (r *reader) FindReport(ctx context.Context, id ReportID, admin mls.DID) (Report, error) {
	row, err := r.q.FindReport(ctx, string(id), string(admin))
	if isNotFound(err) {
		return Report{}, mls.ErrReportNotFound
	}
	return Report{
		ID: id, ConvoID: row.ConvoID, Reporter: row.ReporterDID, Reported: row.ReportedDID, Status: ReportStatus(row.Status),
	}, fail("find report", err)
}

// Resolution is how an admin resolves a report.
type Resolution struct {
	Report ReportID
	// Action is removed_member, dismissed, no_action, or another word of an admin's client.
	Action string
	Notes  *string
	By     mls.DID
	At     time.Time
}

// ResolveReport resolves a pending report, once: the error is
// mls.ErrAlreadyResolved for whoever comes second. A repeat of the same resolution
// by the same admin changes nothing. "dismissed" gives that
// status, the other actions ReportResolved.
func (tx *Tx) ResolveReport(ctx context.Context, r Resolution) (repeated bool, err error) {
	status := ReportResolved
	if r.Action == string(ReportDismissed) {
		status = ReportDismissed
	}
	at := bucket(r.At)
	n, err := tx.q.ResolveReport(ctx, db.ResolveReportParams{
		ID: string(r.Report), Status: string(status), Action: &r.Action, Notes: r.Notes, ResolvedBy: (*string)(&r.By), ResolvedAt: &at,
	})
	if err == nil && n == 0 {
		same, err := tx.q.WasResolvedSo(ctx, db.WasResolvedSoParams{ID: string(r.Report), ResolvedBy: string(r.By), Action: r.Action, Notes: r.Notes})
		switch {
		case err != nil:
			return false, fail("look for a resolution", err)
		case same:
			return true, nil
		}
		return false, mls.ErrAlreadyResolved
	}
	return false, fail("resolve report", err)
}

// ModerationStats is counted from rows.
type ModerationStats struct {
	Total, Pending, Resolved         int64
	Removals, BlockConflictsResolved int64
	Harassment, Spam, HateSpeech     int64
	Violence, SexualContent          int64
	Impersonation, PrivacyViolation  int64
	Other                            int64
	// AverageHours to resolution, rounded; nil when nothing was resolved.
	AverageHours *int64
}

// CountModeration counts the reports and actions of a conversation, or with
// convo "" of all, that were made since a time.
func (r *reader) CountModeration(ctx context.Context, convo mls.ConvoID, since time.Time) (ModerationStats, error) {
	row, err := r.q.CountModeration(ctx, string(convo), since)
	if err != nil {
		return ModerationStats{}, fail("count moderation", err)
	}
	stats := ModerationStats{
		Total: row.Total, Pending: row.Pending, Resolved: row.Resolved,
		Removals: row.Removals, BlockConflictsResolved: row.BlockConflictsResolved,
		Harassment: row.Harassment, Spam: row.Spam, HateSpeech: row.HateSpeech, Violence: row.Violence,
		SexualContent: row.SexualContent, Impersonation: row.Impersonation, PrivacyViolation: row.PrivacyViolation, Other: row.Other,
	}
	if row.AverageHours != absent {
		stats.AverageHours = &row.AverageHours
	}
	return stats, nil
}
