package delivery

import (
	"context"
	"errors"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// ClassSealedConvo is the rate class of a conversation's sealed sends.
const ClassSealedConvo = "sealedConvo"

// SealedUnits is how many units of its class a sealed send costs a conversation of one member. One
// of n members has n times as many sends: each costs the nth part.
const SealedUnits = 1000

// sealedAttempts bounds how often a sealed send is judged anew because its keys were gone when it
// was to be stored. Each time, the conversation's epoch or roster has moved on.
const sealedAttempts = 4

// SealedMessage is an application message that does not say by whom it is.
type SealedMessage struct {
	Key mls.ConvoKey
	// Statement is what Proof is over.
	Statement mls.SealedStatement
	Proof     []byte
	Message   store.SendParams
}

// SendSealed stores a message of somebody who knows a send key of the present epoch, as Send stores
// one of a known sender (I16). A conversation that is unknown, one without a key and a wrong proof
// are the same: the same statement is run, and the same number of keys is tried. Errors:
// mls.ErrConvoNotFound; mls.ErrEpochMismatch for a right proof by the present key over another
// epoch, or by the key before over its own; mls.ErrInvalidAsset, mls.ErrMessageIDConflict,
// mls.ErrRateLimitExceeded.
func (s *Service) SendSealed(ctx context.Context, m SealedMessage) (store.SendResult, error) {
	message := mls.ParseSend(m.Message.Ciphertext)
	application, group := message.IsApplicationOf(m.Message.Epoch)
	if !application {
		return store.SendResult{}, mls.InvalidAsset("a sealed send must be an application message of its epoch")
	}
	m.Message.GroupID = group
	for attempt := range sealedAttempts {
		keys, repeat, err := s.findKeys(ctx, &m, attempt == 0)
		if err != nil {
			return store.SendResult{}, err
		}
		if repeat != nil {
			return *repeat, nil
		}
		if attempt == 0 {
			cost := max(SealedUnits/max(keys.Users, 1), 1)
			if err := s.take(ctx, ClassSealedConvo, string(keys.ConvoID), int(cost)); err != nil {
				return store.SendResult{}, err
			}
		}
		m.Message.Seal = keys.Seal
		sent, err := s.Sender.SendMessage(ctx, m.Message)
		if err == nil {
			return sent, nil
		}
		if err := sealedFault(err); err != nil {
			return store.SendResult{}, err
		}
		s.keys.drop(m.Key)
	}
	return store.SendResult{}, mls.ErrConvoNotFound
}

// findKeys is the keys by which a message is proven. A first attempt may go by those that are
// remembered: if they no longer stand, the message is not stored. A message of the epoch before
// may be stored already; repeat is what it was answered.
func (s *Service) findKeys(ctx context.Context, m *SealedMessage, first bool) (keys store.SendKeys, repeat *store.SendResult, err error) {
	if first {
		keys = s.keys.find(m.Key, m.Message.At)
		if m.Statement.Proves(m.Proof, keys.Present) && keys.Epoch == m.Message.Epoch {
			return keys, nil, nil
		}
	}
	keys, err = s.store.FindSendKeys(ctx, m.Key)
	if err != nil {
		return keys, nil, err
	}
	present, former := m.Statement.Proves(m.Proof, keys.Present), m.Statement.Proves(m.Proof, keys.Former)
	switch {
	case present && keys.Epoch == m.Message.Epoch:
		s.keys.keep(m.Key, keys, m.Message.At)
		return keys, nil, nil
	case present:
		return keys, nil, otherEpoch()
	case former && keys.Epoch == m.Message.Epoch+1:
		repeat, err = s.store.FindRepeat(ctx, keys.ConvoID, m.Message.ID, m.Message.Ciphertext)
		if err == nil && repeat == nil {
			err = otherEpoch()
		}
		return keys, repeat, err
	}
	return keys, nil, mls.ErrConvoNotFound
}

// otherEpoch does not say which epoch is current.
func otherEpoch() error {
	return mls.Detailed(mls.ErrEpochMismatch, "the message was made in another epoch than the present one")
}

// sealedFault is what is told of a fault of a sealed send, nil when its keys are to be tried anew:
// the roster, the epoch or the group has changed since they were.
func sealedFault(err error) error {
	switch {
	case errors.Is(err, mls.ErrConvoNotFound), errors.Is(err, mls.ErrNotMember), errors.Is(err, mls.ErrEpochMismatch), errors.Is(err, mls.ErrGroupReinitialized):
		return nil
	case errors.Is(err, mls.ErrGroupReset):
		return mls.InvalidAsset("the message belongs to another group")
	}
	return err
}

// SendKeyDeposit is a key for sealed sends that a member gives for the present epoch.
type SendKeyDeposit struct {
	Key  mls.ConvoKey
	User mls.DID
	// Generation is the group that the key is of, nil where the user does not say.
	Generation *mls.Generation
	// Epoch is the one that the user believes to stand, Commit the commit that led there, "" where
	// the user does not say.
	Epoch   mls.Epoch
	Commit  mls.MessageID
	SendKey *mls.SendKey
}

// DepositSendKey keeps a key for sealed sends, and reports whether the epoch has it now. It has not
// while somebody knows it who is no member any more, or where the user does not say of which of
// several groups it is that have been in that epoch. Errors: those of LockAsMember,
// mls.ErrGroupReset, mls.ErrInvalidInput, mls.ErrEpochMismatch, mls.ErrGroupReinitialized.
func (s *Service) DepositSendKey(ctx context.Context, d SendKeyDeposit) (accepted bool, err error) {
	err = s.store.InTx(ctx, func(tx *store.Tx) error {
		accepted = false
		standing, err := tx.LockAsMember(ctx, d.Key, d.User)
		if err != nil {
			return err
		}
		known, err := d.fits(ctx, tx, &standing.Convo)
		if err != nil || !known {
			return err
		}
		accepted, err = giveKey(ctx, tx, &standing.Convo, d.User, d.SendKey)
		return err
	})
	return accepted, s.TellGroup(ctx, d.Key, d.User, err)
}

// fits holds what the user says of the key's group against the conversation's. known says that the
// key can be of no other group.
func (d *SendKeyDeposit) fits(ctx context.Context, tx *store.Tx, c *store.Convo) (known bool, err error) {
	switch {
	case d.Generation != nil && *d.Generation < c.Generation:
		return false, mls.ErrGroupReset
	case d.Generation != nil && *d.Generation > c.Generation:
		return false, mls.InvalidInput("/generation", "must be one that the conversation has had")
	case c.Successor != nil:
		return false, mls.ErrGroupReinitialized
	case c.Epoch != d.Epoch:
		return false, mls.EpochMismatch(d.Epoch, c.Epoch)
	case d.Commit != "" && d.Commit != c.CommitID:
		return false, mls.OtherCommitStands(c.Epoch)
	case d.Commit != "":
		return true, nil
	case d.Generation == nil && c.Generation > 0:
		return false, nil
	}
	branched, err := tx.IsBranched(ctx, c, c.Epoch)
	return !branched, err
}

// giveKeyOf keeps the key that came with a commit, which has led to the conversation's epoch. In a
// group that the server does not follow, whoever has merged a commit that was taken back speaks of
// the same epochs as the others, and its commit leads those away who were added by that one: they
// would know the key.
func giveKeyOf(ctx context.Context, tx *store.Tx, convo *store.Convo, h *handshake) error {
	if h.sendKey == nil {
		return nil
	}
	if h.change == nil && !h.placed {
		if branched, err := tx.IsBranched(ctx, convo, h.Epoch); err != nil || branched {
			return err
		}
	}
	_, err := giveKey(ctx, tx, convo, h.sender, h.sendKey)
	return err
}

// giveKey keeps the key that a user gives for the conversation's epoch, nil for none. Where it
// comes with a commit, it is the last step: whoever leaves by the commit takes all keys along that
// are there by then.
func giveKey(ctx context.Context, tx *store.Tx, convo *store.Convo, user mls.DID, key *mls.SendKey) (bool, error) {
	if key == nil || convo.Successor != nil {
		return false, nil
	}
	if stray, err := tx.HasStrayLeaf(ctx, convo.ID); err != nil || stray {
		return false, err
	}
	return tx.GiveSendKey(ctx, convo, user, key)
}
