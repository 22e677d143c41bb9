package delivery

import (
	"context"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Send stores a message. An application message, and what cannot be read, goes the short way: one
// statement that judges and writes. A commit or proposal, and what looks like neither, is judged
// under the conversation's lock. Errors as store.Store.SendMessage, those of mls.Submission, and
// mls.ErrNotAdmin.
func (s *Service) Send(ctx context.Context, p store.SendParams) (store.SendResult, error) {
	p.Grace = s.EpochGrace
	message := mls.ParseSend(p.Ciphertext)
	short, group := message.IsApplicationOf(p.Epoch)
	if short {
		p.GroupID = group
		return s.Sender.SendMessage(ctx, p)
	}
	s.examine(ctx, p.Key, p.Sender, &message)
	var result store.SendResult
	err := s.store.InTx(ctx, func(tx *store.Tx) (err error) {
		result, err = sendHandshake(ctx, tx, p, &message)
		return err
	})
	if !message.IsCommit() || result.Repeated {
		return result, err
	}
	return result, s.AfterRace(ctx, p.Key, p.Sender, err)
}

// sendHandshake accepts a commit or proposal that came like a message. A repeat with the same bytes
// gets the first answer, whatever the epoch is by then.
func sendHandshake(ctx context.Context, tx *store.Tx, p store.SendParams, message *mls.Submission) (store.SendResult, error) {
	standing, err := tx.LockAsMember(ctx, p.Key, p.Sender)
	if err != nil {
		return store.SendResult{}, err
	}
	convo := &standing.Convo
	repeat, err := tx.FindRepeat(ctx, convo.ID, p.ID, p.Ciphertext)
	switch {
	case err != nil:
		return store.SendResult{}, err
	case repeat != nil:
		return *repeat, nil
	}
	state, err := groupState(ctx, tx, convo, message.References())
	if err != nil {
		return store.SendResult{}, err
	}
	seen, err := message.Judge(p.Epoch, p.Grace, state)
	switch {
	case err != nil:
		return store.SendResult{}, err
	case seen.Handshake == nil:
		return store.SendResult{}, mls.InvalidAsset("the message is neither an application message nor a handshake")
	}
	h := handshake{
		Handshake: seen.Handshake, bytes: p.Ciphertext, id: p.ID, declaredSize: p.DeclaredSize, sender: p.Sender, at: p.At,
	}
	if err := checkSender(ctx, tx, &standing, h); err != nil {
		return store.SendResult{}, err
	}
	if err := h.addsNobody(); err != nil {
		return store.SendResult{}, err
	}
	accept := commit
	if seen.Content == mls.ContentProposal {
		accept = propose
	}
	seq, err := accept(ctx, tx, convo, h)
	return store.SendResult{ConvoID: convo.ID, Seq: seq, Epoch: p.Epoch, ReceivedAt: p.At}, err
}
