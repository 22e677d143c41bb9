package store

import (
	"context"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// StreamConvo is what a conversation is to a user around a position of the log.
type StreamConvo struct {
	ConvoID mls.ConvoID
	// Now and Then say whether the user is a member now, and was one at the position.
	Now, Then bool
}

// StreamConvos returns the conversations that a user is in, or was in at any
// time after a settled position.
func (r *reader) StreamConvos(ctx context.Context, user mls.DID, at LogCursor) ([]StreamConvo, error) {
	rows, err := r.q.ListStreamConversations(ctx, db.ListStreamConversationsParams{
		UserDID: user.String(), Generation: at.Generation, LogXid: at.Xid, Position: at.Position,
	})
	if err != nil {
		return nil, fail("list a stream's conversations", err)
	}
	convos := make([]StreamConvo, len(rows))
	for i, row := range rows {
		convos[i] = StreamConvo{ConvoID: mls.ConvoID(row.ConvoID), Now: row.MemberNow, Then: row.MemberThen}
	}
	return convos, nil
}

// LostEvents reports whether retention has removed events after a settled position that the user
// could have seen, of all of its conversations or of one.
func (r *reader) LostEvents(ctx context.Context, user mls.DID, only mls.ConvoID, at LogCursor) (bool, error) {
	convos, err := r.StreamConvos(ctx, user, at)
	if err != nil {
		return false, err
	}
	arg := db.HasLostEventsParams{
		UserDID: user.String(), OnlyConvo: string(only), Generation: at.Generation, LogXid: at.Xid, Position: at.Position,
		ConvoIds: []string{}, JoinedIds: []string{},
	}
	for _, c := range convos {
		switch {
		case only != "" && only != c.ConvoID:
		case c.Then:
			arg.ConvoIds = append(arg.ConvoIds, string(c.ConvoID))
		default:
			arg.JoinedIds = append(arg.JoinedIds, string(c.ConvoID))
		}
	}
	lost, err := r.q.HasLostEvents(ctx, arg)
	return lost, fail("look for lost events", err)
}

// StreamMessages reads messages in the order of refs, as many from the front
// as fit into maxBytes of ciphertext; with force the first one, whatever its
// size. The answer is for refs[:len(answer)]; an entry is nil when its message
// is gone.
func (r *reader) StreamMessages(ctx context.Context, refs []MessageRef, maxBytes int64, force bool) ([]*Message, error) {
	convos, seqs := make([]string, len(refs)), make([]int64, len(refs))
	for i, ref := range refs {
		convos[i], seqs[i] = string(ref.ConvoID), int64(ref.Seq)
	}
	rows, err := r.q.ReadStreamMessages(ctx, db.ReadStreamMessagesParams{MaxBytes: maxBytes, Force: force, ConvoIds: convos, Seqs: seqs})
	if err != nil {
		return nil, fail("read messages for streams", err)
	}
	messages := make([]*Message, len(refs))
	for i := range rows {
		row := &rows[i]
		if !row.Fits {
			return messages[:row.Ord], nil
		}
		messages[row.Ord] = &Message{
			ConvoID: row.ConvoID, Seq: row.Seq, ID: row.MsgID, Kind: MessageKind(row.Kind), Epoch: row.Epoch,
			Ciphertext: row.Ciphertext, Void: row.Void, ReceivedAt: row.ReceivedBucketTs,
		}
	}
	return messages, nil
}

// StreamAdmins returns the users that are admins of the conversations now.
func (r *reader) StreamAdmins(ctx context.Context, convos []mls.ConvoID) (map[mls.ConvoID]map[mls.DID]bool, error) {
	rows, err := r.q.ListStreamAdmins(ctx, texts(convos))
	if err != nil {
		return nil, fail("list admins for streams", err)
	}
	admins := make(map[mls.ConvoID]map[mls.DID]bool, len(convos))
	for _, row := range rows {
		if admins[row.ConvoID] == nil {
			admins[row.ConvoID] = map[mls.DID]bool{}
		}
		admins[row.ConvoID][row.UserDID] = true
	}
	return admins, nil
}

// FindConvoID returns the id of the conversation that the key names, or
// mls.ErrConvoNotFound. It says nothing of who may see it.
func (r *reader) FindConvoID(ctx context.Context, key mls.ConvoKey) (mls.ConvoID, error) {
	id, err := r.q.FindConversationID(ctx, string(key.ConvoID), string(key.GroupID))
	if isNotFound(err) {
		return "", mls.ErrConvoNotFound
	}
	return id, fail("find a conversation", err)
}
