package e2e

import (
	"crypto/sha256"
	"strconv"
	"testing"

	"mls-server/client/sealed"
	"mls-server/internal/gen/mlsapi"
)

// SendKey is the key for sealed sends in the chat's epoch. The groups of these tests have no
// secrets, so it is made of the group's id and the epoch; the real clients' tests export it.
func (c *Chat) SendKey() []byte {
	sum := sha256.Sum256([]byte(string(c.Group.GroupID()) + "/" + strconv.FormatInt(int64(c.Group.Epoch), 10)))
	return sum[:]
}

// Sealed is a sealed send of the chat's epoch, proven under its key.
func (c *Chat) Sealed() *mlsapi.SendSealedInput {
	m := c.Message()
	in := &mlsapi.SendSealedInput{ConvoID: c.ID, MsgID: m.MsgID, Epoch: m.Epoch, Ciphertext: m.Ciphertext, PaddedSize: m.PaddedSize}
	Prove(in, c.SendKey())
	return in
}

// Prove gives a sealed send its proof under a key.
func Prove(in *mlsapi.SendSealedInput, key []byte) {
	in.Proof = sealed.Proof(key, in.ConvoID, in.Epoch, in.MsgID, in.Ciphertext)
}

// Unnamed is somebody who has no token.
func (s *Server) Unnamed() *User { return &User{Server: s} }

// SendSealed sends a message without saying by whom.
func (s *Server) SendSealed(tb testing.TB, c *Chat) mlsapi.SendSealedOutput {
	tb.Helper()
	var out mlsapi.SendSealedOutput
	s.Unnamed().Post(tb, mlsapi.MethodSendSealed, c.Sealed(), &out).OK(tb)
	return out
}

// GiveKey deposits a key for the chat's epoch, of the group and the commit that stand, and returns
// whether the epoch has it now.
func (u *User) GiveKey(tb testing.TB, c *Chat, key []byte) bool {
	tb.Helper()
	var now mlsapi.GetEpochOutput
	u.Get(tb, mlsapi.MethodGetEpoch, &now, "convoId", c.ID).OK(tb)
	in := &mlsapi.DepositSendKeyInput{ConvoID: c.ID, Epoch: int64(c.Group.Epoch), CommitID: now.CommitID, Generation: now.Generation, SendKey: key}
	var out mlsapi.DepositSendKeyOutput
	u.Post(tb, mlsapi.MethodDepositSendKey, in, &out).OK(tb)
	return out.Accepted
}
