package delivery

import (
	"context"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Handshake is a commit or proposal that fits the conversation and breaks no visible rule.
type Handshake struct {
	*mls.Handshake
	// Bytes are what clients get: the message as it came, padding included.
	Bytes []byte
	// ID names it in getMessages; "" gets one of the server's.
	ID           mls.MessageID
	DeclaredSize *int64
}

// GroupState is what the parser needs to know of a conversation.
func GroupState(convo *store.Convo) mls.GroupState {
	return mls.GroupState{GroupID: convo.GroupID, Epoch: convo.Epoch, Suite: convo.CipherSuite}
}

// ParseCommit reads the commit of a text field and checks it against the
// conversation. A missing one is an mls.ErrInvalidCommit: a change of the
// group without a commit does not exist in MLS.
func ParseCommit(text *string, convo *store.Convo) (Handshake, error) {
	return parse(text, convo, mls.ReadCommit)
}

// ParseProposal is ParseCommit for a proposal.
func ParseProposal(text *string, convo *store.Convo) (Handshake, error) {
	return parse(text, convo, mls.ReadProposal)
}

func parse(text *string, convo *store.Convo, read func([]byte, mls.GroupState) (*mls.Handshake, error)) (Handshake, error) {
	if text == nil {
		return Handshake{}, mls.InvalidCommit(mls.CodeTruncated)
	}
	raw, err := mls.DecodeText(*text)
	if err != nil {
		return Handshake{}, mls.InvalidCommit(mls.CodeBadEncoding)
	}
	h, err := read(raw, GroupState(convo))
	return Handshake{Handshake: h, Bytes: raw}, err
}

// Commit accepts a checked commit: the epoch advances from the commit's own by
// compare-and-set (I2), and the commit takes its place in the sequence (I3).
// What it does to the roster is the caller's next step, in the same transaction.
func (s *Service) Commit(ctx context.Context, tx *store.Tx, convo *store.Convo, sender mls.DID, h Handshake, at time.Time) (mls.Seq, error) {
	seq, err := tx.AcceptCommit(ctx, stored(convo, h, sender, at))
	if err != nil {
		return 0, err
	}
	convo.Epoch, convo.LastSeq = h.Epoch+1, seq
	if err := settleVisible(ctx, tx, convo, h, at); err != nil {
		return 0, err
	}
	return seq, tx.AppendEvents(ctx, convo.ID, at, store.NewEvent{
		Kind: store.EventEpochAdvanced, Audience: store.ToMembers, Epoch: &convo.Epoch,
	})
}

// Propose stores a checked proposal at its place in the sequence.
func (s *Service) Propose(ctx context.Context, tx *store.Tx, convo *store.Convo, h Handshake, at time.Time) (mls.Seq, error) {
	seq, err := tx.AcceptProposal(ctx, stored(convo, h, "", at))
	if err == nil {
		convo.LastSeq = seq
	}
	return seq, err
}

func stored(convo *store.Convo, h Handshake, sender mls.DID, at time.Time) store.Handshake {
	if h.ID == "" {
		h.ID = mls.NewMessageID(at)
	}
	return store.Handshake{
		ConvoID: convo.ID, ID: h.ID, Epoch: h.Epoch, Bytes: h.Bytes, DeclaredSize: h.DeclaredSize, Sender: sender, At: at,
	}
}

// settleVisible settles the removal debts that a commit is seen to settle: by
// Remove proposals whose leaf the server knows, or because the leaver's own
// proposal of the same epoch obliges an opaque commit to contain it (ADR 5).
func settleVisible(ctx context.Context, tx *store.Tx, convo *store.Convo, h Handshake, at time.Time) error {
	if !h.Visible || len(h.Unresolved) > 0 {
		return tx.SettleProposedDebts(ctx, convo.ID, h.Epoch, at)
	}
	return tx.SettleLeafDebts(ctx, convo.ID, h.Removed, convo.Epoch, at)
}

// SendHandshake takes a commit or proposal that came like a message, and what
// looks like neither. A repeat with the same bytes gets the first answer,
// whatever the epoch is by then.
func (s *Service) SendHandshake(ctx context.Context, p store.SendParams) (store.SendResult, error) {
	var result store.SendResult
	err := s.store.InTx(ctx, func(tx *store.Tx) error {
		standing, err := tx.LockAsMember(ctx, p.Key, p.Sender)
		if err != nil {
			return err
		}
		convo := &standing.Convo
		repeat, err := tx.FindRepeat(ctx, convo.ID, p.ID, p.Ciphertext)
		switch {
		case err != nil:
			return err
		case repeat != nil:
			result = *repeat
			return nil
		}
		submission := mls.ParseSend(p.Ciphertext)
		seen, err := submission.Judge(p.Epoch, p.Grace, GroupState(convo))
		switch {
		case err != nil:
			return err
		case seen.Handshake == nil:
			return mls.InvalidAsset("the message is neither an application message nor a handshake")
		}
		result = store.SendResult{ConvoID: convo.ID, Epoch: p.Epoch, ReceivedAt: p.At}
		h := Handshake{Handshake: seen.Handshake, Bytes: p.Ciphertext, ID: p.ID, DeclaredSize: p.DeclaredSize}
		if seen.Content == mls.ContentProposal {
			result.Seq, err = s.Propose(ctx, tx, convo, h, p.At)
			return err
		}
		result.Seq, err = s.Commit(ctx, tx, convo, p.Sender, h, p.At)
		return err
	})
	return result, err
}
