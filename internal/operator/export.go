package operator

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// exportedAtOnce is how many messages are read at once.
const exportedAtOnce = 50

// message is a message that the account may read, as getMessages gives it. Nothing says who sent
// it: that is kept nowhere.
type message struct {
	Record     string        `json:"record"`
	ConvoID    mls.ConvoID   `json:"convoId"`
	ID         mls.MessageID `json:"messageId"`
	Seq        mls.Seq       `json:"seq"`
	Epoch      mls.Epoch     `json:"epoch"`
	Void       bool          `json:"void,omitempty"`
	ReceivedAt time.Time     `json:"receivedAt"`
	Ciphertext []byte        `json:"ciphertext"`
}

// export writes what the account may have of what is kept about it.
func (c *Command) export(ctx context.Context, at Console) error {
	err := at.Store.InTx(ctx, func(tx *store.Tx) error { return tx.AuditOperator(ctx, c.action(store.OperatorExport, at)) })
	if err != nil {
		return err
	}
	out := bufio.NewWriter(at.Out)
	if err := at.Store.Export(ctx, c.user, func(line string) error {
		_, err := out.WriteString(line + "\n")
		return err
	}); err != nil {
		return err
	}
	convos, err := at.Store.ListMemberships(ctx, c.user)
	if err != nil {
		return err
	}
	for _, convo := range convos {
		if err := c.exportMessages(ctx, at.Store, convo, out); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (c *Command) exportMessages(ctx context.Context, s *store.Store, convo mls.ConvoID, out io.Writer) error {
	lines := json.NewEncoder(out)
	read := store.ReadParams{Key: mls.ConvoKey{ConvoID: convo}, Reader: c.user, Limit: exportedAtOnce}
	for {
		page, err := s.ReadMessages(ctx, read)
		switch {
		case errors.Is(err, mls.ErrNotMember), errors.Is(err, mls.ErrConvoNotFound):
			return nil // there is nothing that it may read any more
		case err != nil:
			return err
		}
		for i := range page.Messages {
			m := &page.Messages[i]
			if err := lines.Encode(message{"message", convo, m.ID, m.Seq, m.Epoch, m.Void, m.ReceivedAt, m.Ciphertext}); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		// By its place: the message itself may be gone by then.
		read.AfterSeq, read.AfterConvo = page.Messages[len(page.Messages)-1].Seq, convo
	}
}
