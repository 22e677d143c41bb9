package store

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"slices"

	"mls-server/internal/gen/db"
	"mls-server/internal/mls"
)

// Seal names a set of keys for sealed sends, which are all of one epoch. It names nobody.
type Seal int64

// SendKeySlots is how many keys an epoch has at most. As many are always tried.
const SendKeySlots = 4

// SendKeys are the keys by which sealed sends to a conversation are tried. There is always the same
// number of them: what is no key of anybody's is noise.
type SendKeys struct {
	ConvoID mls.ConvoID
	// Seal is that of Present, 0 where there are no keys.
	Seal Seal
	// Epoch is that of Present; Former are those of the epoch before.
	Epoch           mls.Epoch
	Present, Former []mls.SendKey
	// Users is how many members the conversation has.
	Users int64
}

// FindSendKeys is the keys of a conversation. It does the same for one that has none, and where
// there is no such conversation, and does not tell which it is.
func (r *reader) FindSendKeys(ctx context.Context, key mls.ConvoKey) (SendKeys, error) {
	row, err := r.q.FindSendKeys(ctx, db.FindSendKeysParams{ConvoID: string(key.ConvoID), GroupID: string(key.GroupID), Noise: noise()})
	if err != nil {
		return SendKeys{}, fail("find send keys", err)
	}
	return SendKeys{
		ConvoID: mls.ConvoID(row.ConvoID), Seal: Seal(row.Mark), Epoch: mls.Epoch(row.Epoch),
		Present: keysIn(row.Present), Former: keysIn(row.Former), Users: row.Users,
	}, nil
}

// noise is slots without a key.
func noise() []byte {
	slots := make([]byte, SendKeySlots*mls.SendKeySize)
	_, _ = rand.Read(slots) // never fails
	return slots
}

// newSeal is never 0.
func newSeal() int64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return int64(binary.BigEndian.Uint64(b[:])>>1) | 1
}

func keysIn(slots []byte) []mls.SendKey {
	keys := make([]mls.SendKey, 0, SendKeySlots)
	for slot := range slices.Chunk(slots, mls.SendKeySize) {
		keys = append(keys, mls.SendKey(slot))
	}
	return keys
}

// GiveSendKey keeps a key for sealed sends in the conversation's epoch, and reports whether the
// epoch has it now, by whomever. It has not when the user has given another one, or when there are
// as many as may be. The caller holds the conversation's lock.
func (tx *Tx) GiveSendKey(ctx context.Context, c *Convo, user mls.DID, key *mls.SendKey) (bool, error) {
	row, err := tx.q.LockSendKeys(ctx, db.LockSendKeysParams{ConvoID: c.ID, Generation: c.Generation, Epoch: c.Epoch})
	if isNotFound(err) {
		row.Present, err = noise(), nil
	}
	if err != nil {
		return false, fail("lock send keys", err)
	}
	given := len(row.Givers)
	for _, other := range keysIn(row.Present)[:given] {
		if subtle.ConstantTimeCompare(other[:], key[:]) == 1 {
			return true, nil
		}
	}
	if given == SendKeySlots || slices.Contains(row.Givers, string(user)) {
		return false, nil
	}
	copy(row.Present[given*mls.SendKeySize:], key[:])
	return true, fail("put send keys", tx.q.PutSendKeys(ctx, db.PutSendKeysParams{
		ConvoID: string(c.ID), Generation: c.Generation, Epoch: c.Epoch, Mark: newSeal(),
		Present: row.Present, Noise: noise(), Givers: append(row.Givers, string(user)),
	}))
}

// HasStrayLeaf reports whether somebody knows the secrets of the conversation's epoch who is no
// member of it: a leaf that nobody has removed yet, nor says so, or a device that was deleted.
func (r *reader) HasStrayLeaf(ctx context.Context, convo mls.ConvoID) (bool, error) {
	stray, err := r.q.HasStrayLeaf(ctx, convo)
	return stray, fail("look for stray leaves", err)
}

// IsBranched reports whether commits have led to an epoch of the conversation's group that were
// taken back: whoever merged one of them has other secrets of the epoch than the others.
func (r *reader) IsBranched(ctx context.Context, c *Convo, epoch mls.Epoch) (bool, error) {
	branched, err := r.q.IsBranched(ctx, db.IsBranchedParams{ConvoID: c.ID, Generation: c.Generation, Epoch: epoch - 1})
	return branched, fail("look for void commits", err)
}

// endSendKeys ends the keys of the epoch that a commit ends. Behind a commit that is seen to remove
// nobody, a right proof by them is still known to be one.
func (tx *Tx) endSendKeys(ctx context.Context, h Handshake) error {
	if !h.RemovesNobody {
		return tx.dropSendKeys(ctx, h.ConvoID)
	}
	return fail("pass send keys", tx.q.PassSendKeys(ctx, db.PassSendKeysParams{
		ConvoID: h.ConvoID, Generation: h.Generation, Epoch: h.Epoch, Mark: newSeal(), Noise: noise(),
	}))
}

// dropSendKeys ends all keys of a conversation.
func (tx *Tx) dropSendKeys(ctx context.Context, convo mls.ConvoID) error {
	return fail("drop send keys", tx.q.DropSendKeys(ctx, convo))
}
