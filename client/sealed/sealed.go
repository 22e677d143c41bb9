// Package sealed makes sealed sends: messages that reach a conversation without telling the service
// by whom they are.
//
// Whoever is in the group derives the send key of its epoch by MLS-Exporter (RFC 9420 8.5). A
// member gives it to the service, with a commit or by depositSendKey; a proof by it is all that a
// sealed send shows. docs/clients.md has test vectors, which client/sealed/testdata holds in JSON.
//
// A client must not send by sendMessage what it cannot send sealed, unless its user says so: that
// would tell the service who has sent just now.
package sealed

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"

	"mls-server/client"
)

const (
	// Label is the label of MLS-Exporter, whose context is the group id, and begins what a proof is
	// over.
	Label = "mls-server sealed send"
	// KeySize is the length of a send key in bytes, which MLS-Exporter is asked for.
	KeySize = 32
)

// Proof returns the proof of a sealed send: what its input has in the fields convoId, epoch, msgId
// and ciphertext, under the send key of the epoch.
func Proof(key []byte, convoID string, epoch int64, msgID string, ciphertext []byte) []byte {
	mac := hmac.New(sha256.New, key)
	text := func(s string) {
		var n [4]byte
		binary.BigEndian.PutUint32(n[:], uint32(len(s))) //nolint:gosec // an id
		mac.Write(n[:])
		mac.Write([]byte(s))
	}
	mac.Write([]byte(Label))
	text(convoID)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(epoch)) //nolint:gosec // epochs are not negative
	mac.Write(n[:])
	text(msgID)
	sum := sha256.Sum256(ciphertext)
	mac.Write(sum[:])
	return mac.Sum(nil)
}

// Send sends a message with its proof, which it writes into in. It repeats nothing. Errors:
// ConvoNotFound when the service knows no such conversation or not this key, and those of
// client.Client.SendSealed.
func Send(ctx context.Context, c *client.Client, key []byte, in client.SendSealedInput) (*client.SendSealedOutput, error) {
	in.Proof = Proof(key, in.ConvoID, in.Epoch, in.MsgID, in.Ciphertext)
	return c.SendSealed(ctx, &in)
}
