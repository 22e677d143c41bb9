package store

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// MessageKind is the content type of RFC 9420, section 6, or KindNotice.
type MessageKind int16

// The kinds of messages.
const (
	KindApplication MessageKind = 1
	KindProposal    MessageKind = 2
	KindCommit      MessageKind = 3
	// KindNotice is the server's own: it takes commits back, or says that the group was begun anew.
	// It has no ciphertext.
	KindNotice MessageKind = 4
)

// SendParams is an application message to send.
type SendParams struct {
	Key mls.ConvoKey
	// GroupID is the group that the message is framed for, "" when it cannot be read.
	GroupID mls.GroupID
	// Sender is held against the roster and stored nowhere (I7); "" for a sealed send.
	Sender mls.DID
	// Seal names the keys by which a sealed send has shown that its sender is a member, 0 for other
	// sends. It is stored nowhere.
	Seal  Seal
	ID    mls.MessageID
	Epoch mls.Epoch
	// CommitID is the commit that the sender believes to stand, "" for any.
	CommitID mls.MessageID
	// Grace is how many epochs behind the conversation's Epoch may be.
	Grace        mls.Epoch
	Ciphertext   []byte
	DeclaredSize *int64
	// At is floored to 2 seconds (I8).
	At time.Time
}

// SendResult is what became of a message.
type SendResult struct {
	ConvoID mls.ConvoID
	Seq     mls.Seq
	Epoch   mls.Epoch
	// ReceivedAt is floored to 2 seconds.
	ReceivedAt time.Time
	// Repeated: the message was there already; nothing was written.
	Repeated bool
	// Void: what is repeated was taken back. FindRepeat tells.
	Void bool
}

// sendAttempts bounds how often a send is judged again because the roster or
// the message changed under it. Each time another transaction has made progress.
const sendAttempts = 8

// SendMessage stores an application message and its event, in one statement
// and one round trip. The same id with the same ciphertext is answered as the
// first time. Errors: mls.ErrConvoNotFound (unknown, or never a member of it),
// mls.ErrNotMember (left), mls.ErrInvalidAsset (another group),
// mls.ErrMessageIDConflict, mls.ErrEpochMismatch, mls.ErrGroupReinitialized, mls.ErrGroupReset.
func (s *Store) SendMessage(ctx context.Context, p SendParams) (SendResult, error) {
	if len(p.Ciphertext) >= largeArgument {
		return s.sendMessage(ctx, p, s.large.SendMessage)
	}
	return s.sendMessage(ctx, p, s.q.SendMessage)
}

// sendStatement runs the statement that sends one message.
type sendStatement func(ctx context.Context, arg db.SendMessageParams) (db.SendMessageRow, error)

// sendHastily is a sendStatement that gives up at once where its conversation is locked.
func (s *Store) sendHastily(ctx context.Context, arg db.SendMessageParams) (row db.SendMessageRow, err error) {
	err = pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '50ms'"); err != nil {
			return err
		}
		row, err = db.New(tx).SendMessage(ctx, arg)
		return err
	})
	return row, err
}

func (s *Store) sendMessage(ctx context.Context, p SendParams, send sendStatement) (SendResult, error) {
	arg := db.SendMessageParams{
		ConvoID: string(p.Key.ConvoID), GroupID: string(p.Key.GroupID), FramedGroup: string(p.GroupID), UserDID: string(p.Sender),
		MsgID: string(p.ID), CommitID: string(p.CommitID), Seal: int64(p.Seal), Epoch: int64(p.Epoch), Grace: clampGrace(p.Grace),
		Ciphertext: p.Ciphertext, DeclaredSize: p.DeclaredSize, PaddedSize: int64(len(p.Ciphertext)),
		ReceivedAt: bucket(p.At),
	}
	for range sendAttempts {
		row, err := send(ctx, arg)
		switch {
		case isNotFound(err):
			return SendResult{}, mls.ErrConvoNotFound
		case isCode(err, codeUniqueViolation):
			s.observer.ObserveRetry()
			continue // a twin was faster: the next look finds it
		case isCode(err, codeSerializationFailure, codeDeadlock):
			s.observer.ObserveRetry()
			continue
		case err != nil:
			return SendResult{}, fail("send message", err)
		case row.Sent > 0:
			s.committed()
			s.stored(KindApplication, len(p.Ciphertext))
			return SendResult{ConvoID: mls.ConvoID(row.ConvoID), Seq: mls.Seq(row.Sent), Epoch: p.Epoch, ReceivedAt: arg.ReceivedAt}, nil
		}
		result, err := unsent(row, p)
		if !errors.Is(err, errChanged) {
			return result, err
		}
	}
	return SendResult{}, fail("send message", mls.ErrBusy)
}

func clampGrace(grace mls.Epoch) int64 { return int64(min(max(grace, 0), mls.MaxEpochGrace)) }

// errChanged: what a statement judged was changed by the transaction it then
// waited for.
var errChanged = errors.New("changed meanwhile")

// unsent says why a message was not stored.
func unsent(row db.SendMessageRow, p SendParams) (SendResult, error) {
	switch {
	case !row.WasMember:
		return SendResult{}, mls.ErrConvoNotFound
	case !row.IsMember:
		return SendResult{}, mls.ErrNotMember
	case row.TwinSeq > 0 && row.TwinSame:
		// It was sent before the conversation got another group, or its epoch ended.
		return SendResult{
			ConvoID: mls.ConvoID(row.ConvoID), Seq: mls.Seq(row.TwinSeq), Epoch: mls.Epoch(row.TwinEpoch),
			ReceivedAt: row.TwinTs, Repeated: true,
		}, nil
	case row.InFormer:
		return SendResult{}, mls.ErrGroupReset
	case !row.InGroup && p.GroupID == "":
		return SendResult{}, mls.InvalidAsset("the conversation takes MLS messages only")
	case !row.InGroup:
		return SendResult{}, mls.InvalidAsset("the message belongs to another group")
	case row.TwinSeq > 0:
		return SendResult{}, mls.ErrMessageIDConflict
	case row.Ended:
		return SendResult{}, mls.ErrGroupReinitialized
	}
	if err := mls.CheckEpoch(p.Epoch, mls.Epoch(row.ConvoEpoch), p.Grace); err != nil {
		return SendResult{}, err
	}
	if p.CommitID != "" && row.ConvoCommit != "" && row.ConvoCommit != string(p.CommitID) {
		return SendResult{}, mls.OtherCommitStands(mls.Epoch(row.ConvoEpoch))
	}
	return SendResult{}, errChanged
}

// Handshake is a commit or a proposal that passed the rules.
type Handshake struct {
	ConvoID mls.ConvoID
	ID      mls.MessageID
	// Generation and Epoch are those that it was made in.
	Generation mls.Generation
	Epoch      mls.Epoch
	Bytes      []byte
	// Message is Bytes without padding.
	Message      []byte
	DeclaredSize *int64
	// Sender is kept for commits, and for commits only.
	Sender mls.DID
	// ProposalRef is what commits name a readable proposal by, "" for everything else.
	ProposalRef mls.ProposalRef
	// State is the group in the epoch that a commit leads to, nil when nothing is known of it. The
	// commits of a verified conversation have a proven one, those of an opaque one have not.
	State *GroupState
	// Successor is the group that a ReInit commit announces, nil for none.
	Successor *Successor
	// RemovesNobody says of a commit that it is seen to leave all members in the group.
	RemovesNobody bool
	// At is floored to 2 seconds (I8).
	At time.Time
}

// proposalRef is NULL where there is none.
func (h *Handshake) proposalRef() []byte {
	if h.ProposalRef == "" {
		return nil
	}
	return []byte(h.ProposalRef)
}

// AcceptCommit takes a conversation from the commit's epoch into the next one:
// epoch by compare-and-set, message, commit row and event, in one statement
// (I1, I2). The error is mls.ErrEpochMismatch when the conversation is in
// another epoch. The caller has seen under the lock that the id is free (see FindRepeat).
func (tx *Tx) AcceptCommit(ctx context.Context, h Handshake) (mls.Seq, error) {
	message := sha256.Sum256(h.Message)
	arg := db.AcceptCommitParams{
		ConvoID: string(h.ConvoID), MsgID: string(h.ID), Generation: int64(h.Generation), Epoch: int64(h.Epoch), Ciphertext: h.Bytes, DeclaredSize: h.DeclaredSize,
		PaddedSize: int64(len(h.Bytes)), SenderDID: string(h.Sender), ReceivedAt: bucket(h.At),
		Verified: h.State != nil && h.State.Proven, MessageHash: message[:],
	}
	if n := h.Successor; n != nil {
		suite := int32(n.Suite)
		arg.ReinitGroupID, arg.ReinitSuite = (*string)(&n.GroupID), &suite
	}
	seq, err := tx.q.AcceptCommit(ctx, arg)
	if isNotFound(err) {
		return 0, tx.epochMismatch(ctx, h)
	}
	if err != nil {
		return 0, fail("accept commit", err, epochHasCommit)
	}
	tx.AfterCommit(func() { tx.stored(KindCommit, len(h.Bytes)) })
	if err := tx.endSendKeys(ctx, h); err != nil {
		return 0, err
	}
	return mls.Seq(seq), tx.advanceState(ctx, h)
}

// FindAccepted is the seq and the id of a commit that stands in its epoch, when it is the same one
// from the same sender: the request that brings it is repeated. It is 0 when there is none.
func (r *reader) FindAccepted(ctx context.Context, convo mls.ConvoID, epoch mls.Epoch, sender mls.DID, commit []byte) (mls.Seq, mls.MessageID, error) {
	row, err := r.q.FindAccepted(ctx, db.FindAcceptedParams{ConvoID: convo, Epoch: epoch, SenderDID: sender, Ciphertext: commit})
	if isNotFound(err) {
		return 0, "", nil
	}
	return row.Seq, row.MsgID, fail("look for a commit", err)
}

// AcceptProposal stores a proposal of the conversation's epoch and its event.
// Errors as AcceptCommit.
func (tx *Tx) AcceptProposal(ctx context.Context, h Handshake) (mls.Seq, error) {
	seq, err := tx.q.AcceptProposal(ctx, db.AcceptProposalParams{
		ConvoID: string(h.ConvoID), MsgID: string(h.ID), Generation: int64(h.Generation), Epoch: int64(h.Epoch), Ciphertext: h.Bytes, DeclaredSize: h.DeclaredSize,
		PaddedSize: int64(len(h.Bytes)), ReceivedAt: bucket(h.At), ProposalRef: h.proposalRef(),
	})
	if isNotFound(err) {
		return 0, tx.epochMismatch(ctx, h)
	}
	if err != nil {
		return 0, fail("accept proposal", err)
	}
	tx.AfterCommit(func() { tx.stored(KindProposal, len(h.Bytes)) })
	return mls.Seq(seq), nil
}

// FindProposals returns the bytes of the readable proposals of the conversation's epoch that have
// one of the references, as they were sent, and whether the epoch has no proposal that could not be
// read.
func (r *reader) FindProposals(ctx context.Context, c *Convo, refs []mls.ProposalRef) (found [][]byte, complete bool, err error) {
	raw := make([][]byte, len(refs))
	for i, ref := range refs {
		raw[i] = []byte(ref)
	}
	arg := db.FindProposalsParams{ConvoID: c.ID, Generation: c.Generation, Epoch: c.Epoch, Refs: raw}
	if found, err = r.q.FindProposals(ctx, arg); err != nil {
		return nil, false, fail("find proposals", err)
	}
	unreadable, err := r.q.HasUnreadableProposal(ctx, db.HasUnreadableProposalParams{ConvoID: c.ID, Generation: c.Generation, Epoch: c.Epoch})
	return found, !unreadable, fail("look for unreadable proposals", err)
}

func (tx *Tx) epochMismatch(ctx context.Context, h Handshake) error {
	row, err := tx.q.GetConversation(ctx, h.ConvoID)
	if isNotFound(err) {
		return mls.ErrConvoNotFound
	}
	if err != nil {
		return fail("read epoch", err)
	}
	if row.Epoch == h.Epoch && row.Generation == h.Generation {
		return errStateMissing
	}
	return mls.EpochMismatch(h.Epoch, row.Epoch)
}

// errStateMissing: the caller forgot that a verified conversation moves with its state, an opaque
// one without, and one that has ended not at all.
var errStateMissing = errors.New("store: the commit does not come with what its conversation's kind asks for")

// FindRepeat looks for a message with the id of a handshake that came through
// sendMessage: found with the same bytes it is answered as the first time,
// with others the error is mls.ErrMessageIDConflict; nil when there is none.
func (r *reader) FindRepeat(ctx context.Context, convo mls.ConvoID, id mls.MessageID, ciphertext []byte) (*SendResult, error) {
	row, err := r.q.FindMessage(ctx, db.FindMessageParams{ConvoID: convo, MsgID: id, Ciphertext: ciphertext})
	if isNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an ordinary answer here
	}
	if err != nil {
		return nil, fail("find message", err)
	}
	if !row.Same {
		return nil, mls.ErrMessageIDConflict
	}
	return &SendResult{ConvoID: convo, Seq: row.Seq, Epoch: row.Epoch, ReceivedAt: row.ReceivedBucketTs, Repeated: true, Void: row.Void}, nil
}

// MessageRef names a message by its place.
type MessageRef struct {
	ConvoID mls.ConvoID
	Seq     mls.Seq
}

// SetCursor moves a user's reading position forward; an older one changes
// nothing. The error is mls.ErrInvalidCursor for a place ahead of the log.
func (tx *Tx) SetCursor(ctx context.Context, standing Standing, did mls.DID, seq mls.Seq) error {
	if seq < 0 || seq > standing.LastSeq {
		return mls.ErrInvalidCursor
	}
	return fail("set cursor", tx.q.SetCursor(ctx, db.SetCursorParams{ConvoID: standing.ID, UserDID: did, Seq: seq}))
}

// FindMessageSeq is the seq of a message; the error is mls.ErrInvalidCursor.
func (r *reader) FindMessageSeq(ctx context.Context, convo mls.ConvoID, id mls.MessageID) (mls.Seq, error) {
	seq, err := r.q.FindMessageSeq(ctx, convo, id)
	if isNotFound(err) {
		return 0, mls.ErrInvalidCursor
	}
	return seq, fail("find message", err)
}
