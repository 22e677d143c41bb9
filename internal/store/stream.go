package store

import (
	"context"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// LogPosition is a place in the event log. Positions are ordered by
// generation, then transaction id, then position; the zero value comes before
// every event.
type LogPosition struct {
	Generation, XID, Position int64
}

// Compare returns -1, 0 or 1 as p comes before q, is q, or comes after q.
func (p LogPosition) Compare(q LogPosition) int {
	for _, pair := range [...][2]int64{{p.Generation, q.Generation}, {p.XID, q.XID}, {p.Position, q.Position}} {
		switch {
		case pair[0] < pair[1]:
			return -1
		case pair[0] > pair[1]:
			return 1
		}
	}
	return 0
}

// LogEvent is one event of the log, as a reader of the log has it.
type LogEvent struct {
	LogPosition
	Event
	// ConvoID is "" for an event that belongs to no conversation.
	ConvoID mls.ConvoID
	// Settled is false from the first event on that a transaction which is still
	// open could be put before. ReadUserLog reads settled events only.
	Settled bool
}

// StreamLog is what a server has to know of the log before it reads cursors.
type StreamLog struct {
	// Generation is the one that events are written in now.
	Generation int64
	// NextXID is a bound that no transaction id has reached yet.
	NextXID int64
	// Compacted is the last event that retention removed.
	Compacted LogPosition
	// CursorKey is the key of the cursors, 32 bytes, the same on all servers.
	CursorKey []byte
}

// StreamLog reads the log's state.
func (s *Store) StreamLog(ctx context.Context) (StreamLog, error) {
	row, err := s.q.GetStreamLog(ctx)
	if err != nil {
		return StreamLog{}, fail("read the log's state", err)
	}
	return StreamLog{
		Generation: row.Generation, NextXID: row.NextXid, CursorKey: row.CursorKey,
		Compacted: LogPosition{row.CompactedGeneration, row.CompactedLogXid, row.CompactedPosition},
	}, nil
}

// LogEnd returns the position of the last settled event.
func (s *Store) LogEnd(ctx context.Context) (LogPosition, error) {
	row, err := s.q.GetLogEnd(ctx)
	return LogPosition{row.Generation, row.LogXid, row.Position}, fail("find the log's end", err)
}

// ReadLog returns events after a position, in order, at most limit. Readers
// stop at the first that is not settled.
func (s *Store) ReadLog(ctx context.Context, after LogPosition, limit int) ([]LogEvent, error) {
	rows, err := s.q.ReadLog(ctx, db.ReadLogParams{
		Generation: after.Generation, LogXid: after.XID, Position: after.Position, MaxRows: rowLimit(limit),
	})
	if err != nil {
		return nil, fail("read the log", err)
	}
	events := make([]LogEvent, len(rows))
	for i := range rows {
		r := &rows[i]
		events[i] = LogEvent{
			LogPosition: LogPosition{r.Generation, r.LogXid, r.Position}, ConvoID: mls.ConvoID(r.ConvoID), Settled: r.Settled,
			Event: Event{
				Kind: EventKind(r.Kind), Audience: Audience(r.Audience), AudienceDID: mls.DID(r.AudienceDID),
				MessageID: mls.MessageID(r.MessageID), Seq: mls.Seq(r.Seq), DID: mls.DID(r.UserDID),
				DeviceID: mls.DeviceID(r.DeviceID), RequestID: r.RequestID, Epoch: mls.Epoch(r.Epoch),
			},
		}
	}
	return events, nil
}

// UserLog asks for what the log holds for one user.
type UserLog struct {
	// User's own events are included, and those of Convos.
	User   mls.DID
	Convos []mls.ConvoID
	// After is exclusive, Until is inclusive and must be settled.
	After, Until LogPosition
	// Limit is how many events are returned at most.
	Limit int
}

// ReadUserLog returns events in order. The cost grows with the user's
// conversations and events, not with the log.
func (s *Store) ReadUserLog(ctx context.Context, u UserLog) ([]LogEvent, error) {
	user := u.User.String()
	rows, err := s.q.ReadConversationLogs(ctx, db.ReadConversationLogsParams{
		ConvoIds: texts(u.Convos), UserDID: &user, MaxRows: rowLimit(u.Limit),
		Generation: u.After.Generation, LogXid: u.After.XID, Position: u.After.Position,
		UntilGeneration: u.Until.Generation, UntilLogXid: u.Until.XID, UntilPosition: u.Until.Position,
	})
	if err != nil {
		return nil, fail("read a user's log", err)
	}
	events := make([]LogEvent, len(rows))
	for i := range rows {
		r := &rows[i]
		events[i] = LogEvent{
			LogPosition: LogPosition{r.Generation, r.LogXid, r.Position}, ConvoID: mls.ConvoID(r.ConvoID), Settled: true,
			Event: Event{
				Kind: EventKind(r.Kind), Audience: Audience(r.Audience), AudienceDID: mls.DID(r.AudienceDID),
				MessageID: mls.MessageID(r.MessageID), Seq: mls.Seq(r.Seq), DID: mls.DID(r.UserDID),
				DeviceID: mls.DeviceID(r.DeviceID), RequestID: r.RequestID, Epoch: mls.Epoch(r.Epoch),
			},
		}
	}
	return events, nil
}

// StreamConvo is what a conversation is to a user around a position of the log.
type StreamConvo struct {
	ConvoID mls.ConvoID
	// Now and Then say whether the user is a member now, and was one at the position.
	Now, Then bool
}

// StreamConvos returns the conversations that a user is in, or was in at any
// time after a settled position.
func (s *Store) StreamConvos(ctx context.Context, user mls.DID, at LogPosition) ([]StreamConvo, error) {
	rows, err := s.q.ListStreamConversations(ctx, db.ListStreamConversationsParams{
		UserDID: user.String(), Generation: at.Generation, LogXid: at.XID, Position: at.Position,
	})
	if err != nil {
		return nil, fail("list a stream's conversations", err)
	}
	convos := make([]StreamConvo, len(rows))
	for i, r := range rows {
		convos[i] = StreamConvo{ConvoID: mls.ConvoID(r.ConvoID), Now: r.MemberNow, Then: r.MemberThen}
	}
	return convos, nil
}

// StreamMessages reads messages in the order of refs, as many from the front
// as fit into maxBytes of ciphertext; with force the first one, whatever its
// size. The answer is for refs[:len(answer)]; an entry is nil when its message
// is gone.
func (s *Store) StreamMessages(ctx context.Context, refs []MessageRef, maxBytes int64, force bool) ([]*Message, error) {
	convos, seqs := make([]string, len(refs)), make([]int64, len(refs))
	for i, ref := range refs {
		convos[i], seqs[i] = string(ref.ConvoID), int64(ref.Seq)
	}
	rows, err := s.q.ReadStreamMessages(ctx, db.ReadStreamMessagesParams{MaxBytes: maxBytes, Force: force, ConvoIds: convos, Seqs: seqs})
	if err != nil {
		return nil, fail("read messages for streams", err)
	}
	messages := make([]*Message, len(refs))
	for i := range rows {
		r := &rows[i]
		if !r.Fits {
			return messages[:r.Ord], nil
		}
		messages[r.Ord] = &Message{
			ConvoID: r.ConvoID, Seq: r.Seq, ID: r.MsgID, Kind: MessageKind(r.Kind), Epoch: r.Epoch,
			Ciphertext: r.Ciphertext, ReceivedAt: r.ReceivedBucketTs,
		}
	}
	return messages, nil
}

// StreamAdmins returns the users that are admins of the conversations now.
func (s *Store) StreamAdmins(ctx context.Context, convos []mls.ConvoID) (map[mls.ConvoID]map[mls.DID]bool, error) {
	rows, err := s.q.ListStreamAdmins(ctx, texts(convos))
	if err != nil {
		return nil, fail("list admins for streams", err)
	}
	admins := make(map[mls.ConvoID]map[mls.DID]bool, len(convos))
	for _, r := range rows {
		if admins[r.ConvoID] == nil {
			admins[r.ConvoID] = map[mls.DID]bool{}
		}
		admins[r.ConvoID][r.UserDID] = true
	}
	return admins, nil
}

// FindConvoID returns the id of the conversation that the key names, or
// mls.ErrConvoNotFound. It says nothing of who may see it.
func (s *Store) FindConvoID(ctx context.Context, key mls.ConvoKey) (mls.ConvoID, error) {
	id, err := s.q.FindConversationID(ctx, string(key.ConvoID), string(key.GroupID))
	if isNotFound(err) {
		return "", mls.ErrConvoNotFound
	}
	return id, fail("find a conversation", err)
}
