package stream

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// Relay carries what is stored nowhere to the other servers of a log. Whatever it is given may be
// lost, and it keeps nothing.
type Relay interface {
	// Alone reports whether there is no other server, as far as this one knows.
	Alone() bool
	// Send gives a payload to the other servers. It does not block.
	Send(payload []byte)
	// Payloads receives what other servers have sent. What is not taken soon is lost.
	Payloads() <-chan []byte
}

// relayed is the version of what servers tell each other: one that a server does not know is
// nothing to it.
const relayed = 1

// envelope is a message on its way to another server.
type envelope struct {
	Version    int           `json:"version"`
	Convo      mls.ConvoID   `json:"convo"`
	FirstGroup mls.GroupID   `json:"firstGroup"`
	After      [3]int64      `json:"after"`
	ID         mls.MessageID `json:"id"`
	Epoch      mls.Epoch     `json:"epoch"`
	At         time.Time     `json:"at"`
	Ciphertext []byte        `json:"ciphertext"`
}

func wrap(e *store.Ephemeral) envelope {
	return envelope{
		Version: relayed, Convo: e.ConvoID, FirstGroup: e.FirstGroup, After: [3]int64{e.After.Generation, e.After.Xid, e.After.Position},
		ID: e.Message.ID, Epoch: e.Message.Epoch, At: e.Message.ReceivedAt, Ciphertext: e.Message.Ciphertext,
	}
}

func (e *envelope) unwrap() store.Ephemeral {
	return store.Ephemeral{
		ConvoID: e.Convo, FirstGroup: e.FirstGroup, After: store.LogCursor{Generation: e.After[0], Xid: e.After[1], Position: e.After[2]},
		Message: store.Message{
			ConvoID: e.Convo, ID: e.ID, Kind: store.KindApplication, Epoch: e.Epoch, ReceivedAt: e.At, Ciphertext: e.Ciphertext,
		},
	}
}

// newRelaySeal encrypts what passes through the relay: it tells those who see it pass that
// somebody sends something, and how large it is after padding. The key is the log's, so that only
// servers of the same database know it.
func newRelaySeal(logKey []byte) (cipher.AEAD, error) {
	mac := hmac.New(sha256.New, logKey)
	mac.Write([]byte("mls-server relay"))
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		return nil, fmt.Errorf("stream: the relay's key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func (h *Hub) seal(e *store.Ephemeral) []byte {
	plain, err := json.Marshal(wrap(e))
	if err != nil {
		return nil // it has nothing that JSON does not know
	}
	return h.relaySeal.Seal(nil, nil, plain, nil) //nolint:gosec // it makes a random nonce itself
}

// receive gives what other servers have sent to the streams of this one, until ctx ends.
func (h *Hub) receive(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case payload := <-h.opt.Relay.Payloads():
			var e envelope
			plain, err := h.relaySeal.Open(nil, nil, payload, nil)
			if err == nil && json.Unmarshal(plain, &e) == nil && e.Version == relayed {
				h.pass(e.unwrap())
			}
		}
	}
}
