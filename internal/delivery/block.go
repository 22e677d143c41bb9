package delivery

import (
	"context"
	"errors"
	"time"

	"mls-server/internal/mls"
	"mls-server/internal/store"
)

// BlockChange is a block that was made or is gone, as its record shows.
type BlockChange struct {
	store.BlockPair
	// Key is that of the record of a block, "" when the source does not say. What the cache has is
	// no substitute where the source knows: another server may have dropped the block meanwhile.
	Key string
	// Exists is true when the record is there, false when it is gone.
	Exists bool
	// SeenAt is the time of which the source says so.
	SeenAt time.Time
	At     time.Time
}

// BlockEffect is what a block change means for a conversation that both users are in.
type BlockEffect struct {
	// Convo is the conversation's first group.
	Convo mls.GroupID
	// ToldAt is when the admins were told of the block, nil when they were not.
	ToldAt *time.Time
}

// ChangeBlock tells the admins of the conversations that two users share of a block between them,
// and records that it is over when it is gone. The client of the blocker reports blocks, and every
// server follows the Jetstream; all of them come here. Admins hear of a block once while it stands,
// and only of one that they heard of is it recorded that it is over. News that are older than the
// end of a conflict change nothing.
func (s *Service) ChangeBlock(ctx context.Context, c BlockChange) ([]BlockEffect, error) {
	shared, err := s.store.ListSharedConvos(ctx, c.Blocker, c.Blocked)
	if err != nil {
		return nil, err
	}
	effects := make([]BlockEffect, 0, len(shared))
	for _, convo := range shared {
		var effect BlockEffect
		err := s.store.InTx(ctx, func(tx *store.Tx) (err error) {
			effect, err = c.apply(ctx, tx, convo)
			return err
		})
		switch {
		case errors.Is(err, mls.ErrNotMember), errors.Is(err, mls.ErrConvoNotFound):
			continue // one of them has just left
		case err != nil:
			return nil, err
		}
		effects = append(effects, effect)
	}
	return effects, nil
}

// apply returns what the block means for a conversation; admins are told of none that is gone.
func (c *BlockChange) apply(ctx context.Context, tx *store.Tx, id mls.ConvoID) (BlockEffect, error) {
	convo, err := tx.LockConvo(ctx, mls.ConvoKey{ConvoID: id})
	if err != nil {
		return BlockEffect{}, err
	}
	for _, user := range []mls.DID{c.Blocker, c.Blocked} {
		if err := requireMember(ctx, tx, id, user); err != nil {
			return BlockEffect{}, err
		}
	}
	effect := BlockEffect{Convo: convo.FirstGroup}
	if c.Exists {
		effect.ToldAt, err = c.tell(ctx, tx, id)
		return effect, err
	}
	ended, err := tx.EndBlockConflict(ctx, id, c.BlockPair, c.SeenAt)
	if err != nil || !ended {
		return effect, err
	}
	return effect, tx.Audit(ctx, store.AdminAction{
		ConvoID: id, Actor: c.Blocker, Kind: store.ActionResolveBlockConflict, Target: c.Blocked, At: c.At,
	})
}

// tell returns when the admins of a conversation were told of the block.
func (c *BlockChange) tell(ctx context.Context, tx *store.Tx, convo mls.ConvoID) (*time.Time, error) {
	told, fresh, err := tx.TellBlockConflict(ctx, convo, store.BlockTelling{BlockPair: c.BlockPair, Key: c.Key, SeenAt: c.SeenAt, At: c.At})
	switch {
	case err != nil || told.IsZero():
		return nil, err
	case !fresh:
		return &told, nil
	}
	return &told, tx.AppendEvents(ctx, convo, c.At, store.NewEvent{Kind: store.EventBlockConflict, Audience: store.ToAdmins, User: c.Blocker})
}

// DropBlock forgets a block whose record was deleted at a time: its author and key are all that a
// deletion names. It is no error when the record was not known.
func (s *Service) DropBlock(ctx context.Context, blocker mls.DID, key string, gone, at time.Time) error {
	blocked, err := s.store.ListBlockedByRecord(ctx, blocker, key)
	if err != nil {
		return err
	}
	for _, user := range blocked {
		if _, err := s.ChangeBlock(ctx, BlockChange{BlockPair: store.BlockPair{Blocker: blocker, Blocked: user}, SeenAt: gone, At: at}); err != nil {
			return err
		}
	}
	return s.store.DropBlock(ctx, blocker, key)
}
