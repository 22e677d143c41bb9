package delivery

import (
	"context"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Message is a message to send. Info is the GroupInfo of the epoch that it leads to, SendKey the
// key for sealed sends in it, nil for none: they mean something for commits only.
type Message struct {
	store.SendParams
	Info    *mls.Deposit
	SendKey *mls.SendKey
}

// Send stores a message. An application message, and what cannot be read, goes the short way: one
// statement that judges and writes. A commit or proposal, and what looks like neither, is judged
// under the conversation's lock. Errors as store.Store.SendMessage, those of mls.Submission, and
// mls.ErrNotAdmin.
func (s *Service) Send(ctx context.Context, p Message) (store.SendResult, error) {
	p.Grace = s.EpochGrace
	message := mls.ParseSend(p.Ciphertext)
	short, group := message.IsApplicationOf(p.Epoch)
	if short {
		p.GroupID = group
		result, err := s.Sender.SendMessage(ctx, p.SendParams)
		return result, s.TellGroup(ctx, p.Key, p.Sender, err)
	}
	b := Bundle{Handshake: message.AsHandshake(), Info: p.Info, SendKey: p.SendKey}
	if b.Handshake != nil {
		s.examine(ctx, p.Key, p.Sender, &b)
	}
	var result store.SendResult
	err := s.store.InTx(ctx, func(tx *store.Tx) (err error) {
		result, err = sendHandshake(ctx, tx, p.SendParams, &message, &b)
		return err
	})
	if !message.IsCommit() || result.Repeated {
		return result, s.TellGroup(ctx, p.Key, p.Sender, err)
	}
	return result, s.AfterRace(ctx, p.Key, p.Sender, err)
}

// sendHandshake accepts a commit or proposal that came like a message. A repeat with the same bytes
// gets the first answer, whatever the epoch is by then.
func sendHandshake(ctx context.Context, tx *store.Tx, p store.SendParams, message *mls.Submission, b *Bundle) (store.SendResult, error) {
	standing, err := tx.LockAsMember(ctx, p.Key, p.Sender)
	if err != nil {
		return store.SendResult{}, err
	}
	convo := &standing.Convo
	repeat, err := tx.FindRepeat(ctx, convo.ID, p.ID, p.Ciphertext)
	switch {
	case err != nil:
		return store.SendResult{}, err
	case repeat != nil && repeat.Void && message.IsCommit():
		return store.SendResult{}, mls.ErrCommitVoid
	case repeat != nil:
		return *repeat, nil
	}
	if err := refuseFormer(ctx, tx, convo, message.Group()); err != nil {
		return store.SendResult{}, err
	}
	c, err := message.Handshake(p.Epoch, p.Grace, mls.GroupState{GroupID: convo.GroupID, Epoch: convo.Epoch})
	switch {
	case err != nil:
		return store.SendResult{}, err
	case c == nil:
		return store.SendResult{}, mls.InvalidAsset("the message is neither an application message nor a handshake")
	case p.CommitID != "" && convo.CommitID != "" && p.CommitID != convo.CommitID:
		return store.SendResult{}, mls.OtherCommitStands(convo.Epoch)
	}
	h, err := judge(ctx, tx, &standing, b, submission{p.Sender, p.At})
	if err != nil {
		return store.SendResult{}, err
	}
	h.id, h.declaredSize, h.placed = p.ID, p.DeclaredSize, p.CommitID != "" && p.CommitID == convo.CommitID
	out, err := sendJudged(ctx, tx, convo, h)
	return store.SendResult{ConvoID: convo.ID, Seq: out.CommitSeq, Epoch: p.Epoch, ReceivedAt: p.At}, err
}

// sendJudged accepts a commit or proposal that stands for itself: it adds nobody, since nobody is
// named.
func sendJudged(ctx context.Context, tx *store.Tx, convo *store.Convo, h handshake) (Stored, error) {
	if err := h.addsNobody(); err != nil {
		return Stored{}, err
	}
	if h.Content == mls.ContentProposal {
		return propose(ctx, tx, convo, h)
	}
	out, err := commit(ctx, tx, convo, h)
	if err != nil {
		return out, err
	}
	return out, conclude(ctx, tx, convo, h, out)
}
