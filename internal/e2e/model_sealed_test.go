package e2e_test

import (
	"crypto/sha256"
	"slices"
	"strconv"

	"mls-server/internal/e2e"
	"mls-server/internal/gen/mlsapi"
	"mls-server/internal/mlstest"
)

// modelKeys are the keys for sealed sends: those of the conversation's epoch with who has given
// them, and those of the epoch before.
type modelKeys struct {
	present []modelKey
	former  []string
}

type modelKey struct {
	value string
	by    *modelUser
}

// pass makes the keys those of the epoch before: nobody is removed.
func (k *modelKeys) pass() {
	former := make([]string, len(k.present))
	for i, key := range k.present {
		former[i] = key.value
	}
	*k = modelKeys{former: former}
}

func (k *modelKeys) has(value string) bool {
	return slices.ContainsFunc(k.present, func(key modelKey) bool { return key.value == value })
}

// give is a key that a member gives for the present epoch.
func (c *modelConvo) give(u *modelUser, value string) (accepted bool) {
	for _, debt := range c.debts {
		if debt.claimed == nil {
			return false // somebody knows it who is gone
		}
	}
	switch {
	case c.keys.has(value):
		return true
	case len(c.keys.present) == 4 || slices.ContainsFunc(c.keys.present, func(k modelKey) bool { return k.by == u }):
		return false
	}
	c.keys.present = append(c.keys.present, modelKey{value, u})
	return true
}

// sealed is a sealed send of a message, proven under a key.
func (c *modelConvo) sealed(m modelMessage, key string) (seq int64, err string) {
	present := c.keys.has(key)
	switch {
	case present && m.epoch != c.epoch:
		return 0, "EpochMismatch"
	case !present && (!slices.Contains(c.keys.former, key) || m.epoch != c.epoch-1):
		return 0, "ConvoNotFound"
	}
	for i, twin := range c.log {
		if twin.id == m.id && twin.bytes == m.bytes {
			return int64(i) + 1, ""
		}
		if twin.id == m.id {
			return 0, "MessageIdConflict"
		}
	}
	if !present {
		return 0, "EpochMismatch"
	}
	c.log = append(c.log, m)
	return c.lastSeq(), ""
}

// sendKey is the key of an epoch, or one that somebody made up.
func (w *world) sendKey(c *modelConvo, u *modelUser, epoch int64) string {
	text := string(c.Group.GroupID()) + strconv.FormatInt(epoch, 10)
	if w.chance(4) {
		text = string(u.DID) + strconv.Itoa(w.rng.IntN(3))
	}
	sum := sha256.Sum256([]byte(text))
	return string(sum[:])
}

func (w *world) giveKey(c *modelConvo, u *modelUser) {
	epoch := w.epoch(c)
	key := w.sendKey(c, u, epoch)
	var out mlsapi.DepositSendKeyOutput
	a := u.Post(w.t, mlsapi.MethodDepositSendKey, &mlsapi.DepositSendKeyInput{ConvoID: w.name(c), Epoch: epoch, SendKey: []byte(key)}, &out)
	want := c.here(u)
	if want == "" && epoch != c.epoch {
		want = "EpochMismatch"
	}
	if w.expect(a, want) {
		w.same("key", out.Accepted, c.give(u, key))
	}
}

// sendSealed sends what somebody might who knows a key of this epoch, of another one, or none: in
// the conversation or not.
func (w *world) sendSealed(c *modelConvo, u *modelUser) {
	m := w.fresh(c)
	m.kind = "app"
	raw := mlstest.PadDirect(w.group(c, m.epoch).Application(200), 512)
	if len(c.log) > 0 && w.chance(4) {
		if old := pick(w, c.log); old.kind == "app" {
			m.id = old.id
			if !w.chance(3) {
				m.epoch, raw = old.epoch, []byte(old.bytes)
			}
		}
	}
	m.bytes = string(raw)
	key := w.sendKey(c, u, m.epoch)
	if len(c.keys.present) > 0 && w.chance(2) {
		key = pick(w, c.keys.present).value
	}
	in := &mlsapi.SendSealedInput{ConvoID: w.name(c), MsgID: m.id, Epoch: m.epoch, Ciphertext: raw, PaddedSize: int64(len(raw))}
	e2e.Prove(in, []byte(key))
	var out mlsapi.SendSealedOutput
	a := u.Server.Unnamed().Post(w.t, mlsapi.MethodSendSealed, in, &out)
	seq, err := c.sealed(m, key)
	if w.expect(a, err) && out.Seq != seq {
		w.t.Errorf("%s: seq %d, the model has %d", w.did, out.Seq, seq)
	}
}
