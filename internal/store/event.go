package store

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// EventKind is what an event of the log is about. The numbers are stored.
type EventKind int16

// The kinds of events. Roster verbs write EventMemberJoined, EventMemberLeft
// and the events of invitations, message verbs EventMessage; the rest is appended.
const (
	EventMessage         EventKind = 1
	EventMemberJoined    EventKind = 2
	EventMemberLeft      EventKind = 3
	EventAdminChanged    EventKind = 4
	EventEpochAdvanced   EventKind = 5
	EventWelcome         EventKind = 6
	EventDevicePending   EventKind = 7
	EventRejoinRequested EventKind = 8
	EventRemovalPending  EventKind = 9
	EventKeyPackagesLow  EventKind = 10
	EventReportReceived  EventKind = 11
	EventReportResolved  EventKind = 12
	EventBlockConflict   EventKind = 13
	EventEpochReopened   EventKind = 14
	EventWelcomeRevoked  EventKind = 15
	EventGroupReset      EventKind = 16
	EventJoinedExternal  EventKind = 17
	// EventInvited tells the members that an invited user came or went: it is no member, and its
	// streams do not follow. EventInvitation tells the user itself of an invitation, or that one is
	// over.
	EventInvited       EventKind = 18
	EventInvitation    EventKind = 19
	EventDeviceRevoked EventKind = 20
)

// Audience says who may see an event.
type Audience int16

// The audiences. ToAdmins leaves out the one that AudienceDID names: a
// reported admin hears nothing of the report.
const (
	ToMembers Audience = 1
	ToAdmins  Audience = 2
	ToUser    Audience = 3
)

// NewEvent is an event of a conversation to append. It never describes a
// message (I7).
type NewEvent struct {
	Kind     EventKind
	Audience Audience
	// AudienceDID is the one user of ToUser, and who is left out of ToAdmins.
	AudienceDID mls.DID
	// User, Device and Request are what it is about, "" for none.
	User    mls.DID
	Device  mls.DeviceID
	Request RequestID
	// Epoch is nil where it says nothing. CommitID is the commit that led to it, "" for none.
	Epoch    *mls.Epoch
	CommitID mls.MessageID
}

// AppendEvents writes events of one conversation in their order. The caller
// holds the conversation's lock, and commits them with what they tell of (I5).
func (tx *Tx) AppendEvents(ctx context.Context, convo mls.ConvoID, at time.Time, events ...NewEvent) error {
	if len(events) == 0 {
		return nil
	}
	arg := db.AppendEventsParams{ConvoID: string(convo), BucketTs: bucket(at)}
	for _, e := range events {
		arg.Kinds = append(arg.Kinds, int16(e.Kind))
		arg.Audiences = append(arg.Audiences, int16(e.Audience))
		arg.AudienceDids = append(arg.AudienceDids, string(e.AudienceDID))
		arg.UserDids = append(arg.UserDids, string(e.User))
		arg.DeviceIds = append(arg.DeviceIds, string(e.Device))
		arg.RequestIds = append(arg.RequestIds, string(e.Request))
		arg.Epochs = append(arg.Epochs, orAbsent(e.Epoch))
		arg.CommitIds = append(arg.CommitIds, string(e.CommitID))
	}
	n, err := tx.q.AppendEvents(ctx, arg)
	return fail("append events", complete(n, len(events), err))
}

// errIncomplete: the conversation is not there, or the log has no generation.
var errIncomplete = errors.New("not all events were written")

// complete turns missing events into an error: no change is committed without
// its event (I5).
func complete(written int64, want int, err error) error {
	if err == nil && written != int64(want) {
		return errIncomplete
	}
	return err
}

// LogCursor is a position in the event log, which has one total order. The zero
// value is its beginning. A position stays valid over a fail-over, and over a
// restore that did not lose it; see Store.StreamLog.
type LogCursor struct {
	// Generation, Xid and Position are compared in this order.
	Generation, Xid, Position int64
}

// Compare is negative, zero or positive as c lies before, at or after d.
func (c LogCursor) Compare(d LogCursor) int {
	for _, pair := range [][2]int64{{c.Generation, d.Generation}, {c.Xid, d.Xid}, {c.Position, d.Position}} {
		if pair[0] != pair[1] {
			if pair[0] < pair[1] {
				return -1
			}
			return 1
		}
	}
	return 0
}

// LogEntry is an event of the log.
type LogEntry struct {
	Cursor   LogCursor
	Kind     EventKind
	Audience Audience
	// ConvoID is "" for a personal event of no conversation. FirstGroup is what clients call the
	// conversation.
	ConvoID     mls.ConvoID
	FirstGroup  mls.GroupID
	AudienceDID mls.DID
	// Seq is the message's, or the conversation's last one when the event was written.
	Seq mls.Seq
	// MessageID is "" but for messages, which name nobody (I7).
	MessageID mls.MessageID
	User      mls.DID
	Device    mls.DeviceID
	Request   RequestID
	// Epoch is nil where it says nothing. CommitID is the commit that led to it, "" for none.
	Epoch    *mls.Epoch
	CommitID mls.MessageID
	// At is floored to 2 seconds.
	At time.Time
}

// LogPage is a part of the log.
type LogPage struct {
	Entries []LogEntry
	// Unsettled: later events are committed, but a transaction that is still
	// open may write some before them. Reading again soon is worth it.
	Unsettled bool
	// Waiting is the first of those later events.
	Waiting LogCursor
}

// ReadLog reads at most limit settled events after a place, of all
// conversations: what a tailer follows. Nothing will ever appear before an
// event that it returned.
func (r *reader) ReadLog(ctx context.Context, after LogCursor, limit int) (LogPage, error) {
	rows, err := r.q.ReadLog(ctx, db.ReadLogParams{Generation: after.Generation, LogXid: after.Xid, Position: after.Position, MaxRows: rowLimit(limit)})
	if err != nil {
		return LogPage{}, fail("read log", err)
	}
	var page LogPage
	page.Entries = make([]LogEntry, 0, len(rows))
	for _, row := range rows {
		if !row.Settled {
			page.Unsettled, page.Waiting = true, LogCursor{row.Generation, row.LogXid, row.Position}
			break
		}
		page.Entries = append(page.Entries, entryOf(db.ReadConversationLogsRow{
			Generation: row.Generation, LogXid: row.LogXid, Position: row.Position, Kind: row.Kind, Audience: row.Audience,
			ConvoID: row.ConvoID, AudienceDID: row.AudienceDID, Seq: row.Seq, MessageID: row.MessageID, UserDID: row.UserDID,
			DeviceID: row.DeviceID, RequestID: row.RequestID, Epoch: row.Epoch, CommitID: row.CommitID, BucketTs: row.BucketTs, FirstGroupID: row.FirstGroupID,
		}))
	}
	return page, r.nameGone(ctx, page.Entries)
}

// nameGone fills in the names of conversations that are gone: their last events outlive them.
func (r *reader) nameGone(ctx context.Context, entries []LogEntry) error {
	var gone []mls.ConvoID
	for i := range entries {
		if e := &entries[i]; e.ConvoID != "" && e.FirstGroup == "" {
			gone = append(gone, e.ConvoID)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	rows, err := r.q.ListNotedGroups(ctx, texts(gone))
	if err != nil {
		return fail("find first groups", err)
	}
	names := make(map[mls.ConvoID]mls.GroupID, len(rows))
	for _, row := range rows {
		names[row.ConvoID] = row.GroupID
	}
	for i := range entries {
		if e := &entries[i]; e.FirstGroup == "" {
			e.FirstGroup = names[e.ConvoID]
		}
	}
	return nil
}

// ReplayParams says what to replay to one user.
type ReplayParams struct {
	User   mls.DID
	Convos []mls.ConvoID
	// After and Until bound the replay: (After, Until]. Until is settled: from
	// LogEnd, or an event that was read.
	After, Until LogCursor
	Limit        int
}

// Replay reads at most Limit events of conversations and of the user's own,
// in the order of the log. It filters neither by membership nor by adminship.
// Its cost follows the page's size and the number of conversations, not the
// length of the log.
func (r *reader) Replay(ctx context.Context, p ReplayParams) ([]LogEntry, error) {
	user := string(p.User)
	rows, err := r.q.ReadConversationLogs(ctx, db.ReadConversationLogsParams{
		ConvoIds: texts(p.Convos), UserDID: &user,
		Generation: p.After.Generation, LogXid: p.After.Xid, Position: p.After.Position,
		UntilGeneration: p.Until.Generation, UntilLogXid: p.Until.Xid, UntilPosition: p.Until.Position,
		MaxRows: rowLimit(p.Limit),
	})
	if err != nil {
		return nil, fail("replay", err)
	}
	entries := make([]LogEntry, len(rows))
	for i, row := range rows {
		entries[i] = entryOf(row)
	}
	return entries, r.nameGone(ctx, entries)
}

// LogEnd is the place of the last settled event.
func (r *reader) LogEnd(ctx context.Context) (LogCursor, error) {
	row, err := r.q.GetLogEnd(ctx)
	return LogCursor{row.Generation, row.LogXid, row.Position}, fail("find the log's end", err)
}

func entryOf(row db.ReadConversationLogsRow) LogEntry {
	e := LogEntry{
		Cursor: LogCursor{row.Generation, row.LogXid, row.Position}, Kind: EventKind(row.Kind), Audience: Audience(row.Audience),
		ConvoID: mls.ConvoID(row.ConvoID), FirstGroup: mls.GroupID(row.FirstGroupID), AudienceDID: mls.DID(row.AudienceDID), Seq: mls.Seq(row.Seq), MessageID: mls.MessageID(row.MessageID),
		User: mls.DID(row.UserDID), Device: mls.DeviceID(row.DeviceID), Request: RequestID(row.RequestID), CommitID: mls.MessageID(row.CommitID), At: row.BucketTs,
	}
	if row.Epoch != absent {
		epoch := mls.Epoch(row.Epoch)
		e.Epoch = &epoch
	}
	return e
}
