package delivery

import (
	"context"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Passer gives messages that are stored nowhere to those who are connected. It does not block.
type Passer interface {
	Pass(e store.Ephemeral)
}

// SendEphemeral gives a message to those who are connected to its conversation, as Send would store
// it, and forgets it. It has no place in the sequence, and a repeat of it is another one. Errors:
// those of Send for application messages but mls.ErrMessageIDConflict.
func (s *Service) SendEphemeral(ctx context.Context, p store.SendParams) (store.SendResult, error) {
	p.Grace = s.EpochGrace
	message := mls.ParseSend(p.Ciphertext)
	application, group := message.IsApplicationOf(p.Epoch)
	if !application {
		return store.SendResult{}, mls.InvalidAsset("an ephemeral message must be an application message of its epoch")
	}
	p.GroupID = group
	e, err := s.store.JudgeSend(ctx, p)
	if err != nil {
		return store.SendResult{}, s.TellGroup(ctx, p.Key, p.Sender, err)
	}
	s.Ephemerals.Pass(e)
	return store.SendResult{ConvoID: e.ConvoID, Epoch: p.Epoch, ReceivedAt: e.Message.ReceivedAt}, nil
}
