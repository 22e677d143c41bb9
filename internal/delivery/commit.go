package delivery

import (
	"context"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// handshake is a commit or proposal that fits the conversation and breaks no visible rule.
type handshake struct {
	*mls.Handshake
	// bytes are what clients get: the message as it came, padding included.
	bytes []byte
	// id names it in getMessages; "" gets one of the server's.
	id           mls.MessageID
	declaredSize *int64
	// sender is kept for commits only.
	sender mls.DID
	at     time.Time
}

// submission says whose a commit or proposal is, and since when.
type submission struct {
	sender mls.DID
	at     time.Time
}

// examiner is a commit or proposal that was read.
type examiner interface{ Examine(suite mls.CipherSuite) }

// examine verifies the signatures of a commit or proposal before its conversation is locked, for
// members only: nobody else shall make the server do that work. Whatever stands against it, the
// error of the lock included, is told in its turn.
func (s *Service) examine(ctx context.Context, key mls.ConvoKey, caller mls.DID, c examiner) {
	if standing, err := s.store.RequireMember(ctx, key, caller); err == nil {
		c.Examine(standing.CipherSuite)
	}
}

// commit accepts a judged commit: the epoch advances from the commit's own by compare-and-set (I2),
// and the commit takes its place in the sequence (I3). What it does to the roster is the caller's
// next step, in the same transaction.
func commit(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake) (mls.Seq, error) {
	stored := h.stored(convo, h.sender)
	seq, err := tx.AcceptCommit(ctx, stored)
	if err != nil {
		return 0, err
	}
	convo.Epoch, convo.LastSeq, convo.CommitID = h.Epoch+1, seq, stored.ID
	if err := settleVisible(ctx, tx, convo, h); err != nil {
		return 0, err
	}
	return seq, tx.AppendEvents(ctx, convo.ID, h.at, store.NewEvent{
		Kind: store.EventEpochAdvanced, Audience: store.ToMembers, Epoch: &convo.Epoch,
	})
}

// propose stores a judged proposal at its place in the sequence, without its sender.
func propose(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake) (mls.Seq, error) {
	seq, err := tx.AcceptProposal(ctx, h.stored(convo, ""))
	if err == nil {
		convo.LastSeq = seq
	}
	return seq, err
}

func (h *handshake) stored(convo *store.Convo, sender mls.DID) store.Handshake {
	id := h.id
	if id == "" {
		id = mls.NewMessageID(h.at)
	}
	stored := store.Handshake{
		ConvoID: convo.ID, ID: id, Generation: convo.Generation, Epoch: h.Epoch, Bytes: h.bytes, Message: h.Message.Raw, DeclaredSize: h.declaredSize, Sender: sender, At: h.at,
	}
	if h.Visible {
		stored.ProposalRef = h.Message.Public.ProposalRef(convo.CipherSuite)
	}
	return stored
}

// placeOf is the place of the commit that a conversation has just accepted.
func placeOf(convo *store.Convo, at time.Time) store.Place {
	return store.Place{Generation: convo.Generation, Epoch: convo.Epoch, Seq: convo.LastSeq, At: at}
}

// settleVisible settles the removal debts that a commit is seen to settle: by Remove proposals
// whose leaf the server knows, or because the leaver's own proposal of the same epoch obliges an
// opaque commit to contain it (ADR 5).
func settleVisible(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake) error {
	if !h.Resolved() {
		return tx.SettleProposedDebts(ctx, convo.ID, placeOf(convo, h.at))
	}
	return tx.SettleLeafDebts(ctx, convo.ID, h.Removed, placeOf(convo, h.at))
}
