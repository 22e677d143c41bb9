package store

import (
	"cmp"
	"context"
	"slices"
	"time"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Message is a stored message.
type Message struct {
	ConvoID    mls.ConvoID
	ID         mls.MessageID
	Seq        mls.Seq
	Kind       MessageKind
	Epoch      mls.Epoch
	Ciphertext []byte
	// Void: a commit that was taken back, or what was sent in an epoch that only such a commit had
	// begun.
	Void bool
	// ReceivedAt is floored to 2 seconds.
	ReceivedAt time.Time
}

// ReadParams says which messages to read.
type ReadParams struct {
	Key    mls.ConvoKey
	Reader mls.DID
	// After is the message to read on from, "" for none.
	After mls.MessageID
	// AfterSeq is where a cursor says to read on, 0 for none; AfterConvo is the
	// conversation that the cursor belongs to.
	AfterSeq   mls.Seq
	AfterConvo mls.ConvoID
	Limit      int
	// MaxBytes ends a page early, after its first message; 0 means PageBytes.
	MaxBytes int64
}

// MessagePage is messages in the order of seq.
type MessagePage struct {
	ConvoID mls.ConvoID
	// FirstGroup is what clients call the conversation.
	FirstGroup mls.GroupID
	Messages   []Message
	// More: the reader may read later messages than those of the page.
	More bool
	// After is where the page begins: the place that was named, or where the reader joined. Until
	// is where all that the reader may read ends.
	After, Until mls.Seq
}

// LastSeq is where to read on: the seq of the page's last message. Where it is empty, that is where
// everything ends: what is in between is no longer kept.
func (p *MessagePage) LastSeq() mls.Seq {
	if n := len(p.Messages); n > 0 {
		return p.Messages[n-1].Seq
	}
	return p.Until
}

// Missing returns the seqs between After and LastSeq that the page does not have, since their
// messages are no longer kept, how many they are, and of the newest at most as many as limit,
// ascending.
func (p *MessagePage) Missing(limit int) (seqs []mls.Seq, n int) {
	n = int(p.LastSeq()-p.After) - len(p.Messages)
	last := len(p.Messages) - 1
	for seq := p.LastSeq(); len(seqs) < min(n, limit); seq-- {
		if last >= 0 && p.Messages[last].Seq == seq {
			last--
			continue
		}
		seqs = append(seqs, seq)
	}
	slices.Reverse(seqs)
	return seqs, n
}

// PageBytes is how much ciphertext, in bytes, a page of messages or commits has at most, unless its
// first item alone is larger. In base64, with all that stands around it, that is less than the 9
// MiB that pass through an atproto proxy.
const PageBytes = 6656 << 10

// reading is what a user may read of a conversation: after its membership began, up to where it
// ended or the conversation is now.
type reading struct {
	convo        mls.ConvoID
	firstGroup   mls.GroupID
	after, until mls.Seq
	// former: the user is off the roster.
	former bool
	// generation and epoch are those of the place where the reading ends. The epoch is -1 where it
	// is not known.
	generation mls.Generation
	epoch      mls.Epoch
}

// findLastReads narrows a reading to what a user who is off the roster may still read: its last
// membership, from beginning to end. A removal that came with its commit ends with that commit. The
// error is mls.ErrNotMember when there is nothing.
func (r *reader) findLastReads(ctx context.Context, in *reading, did mls.DID) error {
	row, err := r.q.FindLastReads(ctx, in.convo, did)
	if isNotFound(err) {
		return mls.ErrNotMember
	}
	if err != nil {
		return fail("find last reads", err)
	}
	in.after, in.until, in.former = mls.Seq(row.JoinSeq), mls.Seq(row.LeftSeq), true
	in.generation, in.epoch = mls.Generation(row.Generation), mls.Epoch(row.Epoch)
	return nil
}

// ReadMessages reads a page with two statements, three for who has left. It begins after the place
// that is named, or where the reader joined if that is later. Who has left reads to the end of its
// membership, and gets mls.ErrNotMember once nothing remains. Errors as RequireMember, and
// mls.ErrInvalidCursor for a place that this conversation does not have.
func (r *reader) ReadMessages(ctx context.Context, p ReadParams) (MessagePage, error) {
	standing, err := r.q.GetReadingStanding(ctx, db.GetReadingStandingParams{
		UserDID: p.Reader, ConvoID: string(p.Key.ConvoID), GroupID: string(p.Key.GroupID), SinceMsgID: string(p.After),
	})
	switch {
	case isNotFound(err):
		return MessagePage{}, mls.ErrConvoNotFound
	case err != nil:
		return MessagePage{}, fail("find standing", err)
	case standing.RowsEver == 0:
		return MessagePage{}, mls.ErrConvoNotFound
	}
	in := reading{convo: standing.ID, firstGroup: mls.GroupID(standing.FirstGroupID), after: mls.Seq(standing.JoinSeq), until: standing.LastSeq}
	if standing.RowsActive == 0 {
		if err := r.findLastReads(ctx, &in, p.Reader); err != nil {
			return MessagePage{}, err
		}
	}
	switch since := mls.Seq(standing.SinceSeq); {
	case p.After != "" && (since == 0 || since > in.until),
		p.AfterConvo != "" && p.AfterConvo != in.convo,
		p.AfterSeq < 0 || p.AfterSeq > in.until:
		return MessagePage{}, mls.ErrInvalidCursor
	default:
		in.after = max(in.after, since, p.AfterSeq)
	}
	return r.readPage(ctx, in, p)
}

func (r *reader) readPage(ctx context.Context, in reading, p ReadParams) (MessagePage, error) {
	page := MessagePage{ConvoID: in.convo, FirstGroup: in.firstGroup, After: in.after, Until: max(in.after, in.until)}
	if in.after < in.until {
		rows, err := r.q.ListMessages(ctx, db.ListMessagesParams{
			ConvoID: in.convo, AfterSeq: in.after, UntilSeq: int64(in.until), MaxRows: rowLimit(p.Limit), MaxBytes: cmp.Or(p.MaxBytes, PageBytes),
		})
		if err != nil {
			return MessagePage{}, fail("list messages", err)
		}
		page.Messages = make([]Message, len(rows))
		for i, row := range rows {
			page.Messages[i] = messageOf(row)
		}
	}
	n := len(page.Messages)
	if n == 0 && in.former {
		return MessagePage{}, mls.ErrNotMember
	}
	page.More = n > 0 && page.LastSeq() < in.until
	return page, nil
}

func messageOf(row db.ListMessagesRow) Message {
	return Message{
		ConvoID: row.ConvoID, ID: row.MsgID, Seq: row.Seq, Kind: MessageKind(row.Kind), Epoch: row.Epoch,
		Ciphertext: row.Ciphertext, Void: row.Void, ReceivedAt: row.ReceivedBucketTs,
	}
}

// Commit is an accepted commit.
type Commit struct {
	// Epoch is the one that it was made in.
	Epoch     mls.Epoch
	Sender    mls.DID
	Bytes     []byte
	CreatedAt time.Time
}

// CommitPage is commits that stand, in the order of their epochs.
type CommitPage struct {
	// FirstGroup is what clients call the conversation.
	FirstGroup mls.GroupID
	Commits    []Commit
	// Next is the epoch to ask for next, nil when the range is done.
	Next *mls.Epoch
}

// CommitRange says which commits to read: those made in the epochs From to To of the conversation's
// generation.
type CommitRange struct {
	From mls.Epoch
	// To is nil for the current epoch.
	To    *mls.Epoch
	Limit int
	// MaxBytes ends a page early, after its first commit; 0 means PageBytes.
	MaxBytes int64
}

// ListCommits reads commits, from the reader's join on. Who has left reads those that stood at the
// end of its membership, and gets mls.ErrNotMember once nothing remains. Errors as RequireMember,
// and mls.ErrInvalidEpochRange.
func (r *reader) ListCommits(ctx context.Context, key mls.ConvoKey, did mls.DID, in CommitRange) (CommitPage, error) {
	standing, err := r.FindStanding(ctx, key, did)
	switch {
	case err != nil:
		return CommitPage{}, err
	case !standing.Ever:
		return CommitPage{}, mls.ErrConvoNotFound
	}
	of := reading{
		convo: standing.ID, firstGroup: standing.FirstGroup, after: standing.JoinSeq, until: standing.LastSeq, generation: standing.Generation, epoch: standing.Epoch,
	}
	if !standing.Member {
		if err := r.findLastReads(ctx, &of, did); err != nil {
			return CommitPage{}, err
		}
		if of.epoch < 0 {
			return CommitPage{}, mls.ErrNotMember
		}
	}
	end, err := mls.CheckEpochRange(in.From, in.To, of.epoch)
	if err != nil {
		return CommitPage{}, err
	}
	page := CommitPage{FirstGroup: of.firstGroup}
	if page.Commits, err = r.listCommits(ctx, of, in, end); err != nil {
		return CommitPage{}, err
	}
	n := len(page.Commits)
	if n == 0 && of.former {
		return CommitPage{}, mls.ErrNotMember
	}
	// The current epoch has no commit yet, so the range ends before it.
	if n > 0 && page.Commits[n-1].Epoch < min(end, of.epoch-1) {
		next := page.Commits[n-1].Epoch + 1
		page.Next = &next
	}
	return page, nil
}

func (r *reader) listCommits(ctx context.Context, of reading, in CommitRange, end mls.Epoch) ([]Commit, error) {
	arg := db.ListCommitsParams{
		ConvoID: of.convo, Generation: of.generation, FromEpoch: in.From, ToEpoch: int64(end),
		AfterSeq: int64(of.after), UntilSeq: int64(of.until), MaxRows: rowLimit(in.Limit), MaxBytes: cmp.Or(in.MaxBytes, PageBytes),
	}
	list := r.q.ListCommits
	if of.former {
		list = r.listLastCommits
	}
	rows, err := list(ctx, arg)
	if err != nil {
		return nil, fail("list commits", err)
	}
	commits := make([]Commit, len(rows))
	for i, row := range rows {
		commits[i] = Commit{Epoch: row.Epoch, Sender: row.SenderDID, Bytes: row.Ciphertext, CreatedAt: row.CreatedAt}
	}
	return commits, nil
}

func (r *reader) listLastCommits(ctx context.Context, arg db.ListCommitsParams) ([]db.ListCommitsRow, error) {
	rows, err := r.q.ListLastCommits(ctx, db.ListLastCommitsParams(arg))
	commits := make([]db.ListCommitsRow, len(rows))
	for i, row := range rows {
		commits[i] = db.ListCommitsRow(row)
	}
	return commits, err
}
